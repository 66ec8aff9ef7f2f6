package classroom_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// pass lets the bubble's time pass, and everything happen that happens until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// events are the events of a log, in order.
func events(log []message) []string {
	var all []string
	for _, m := range log {
		all = append(all, m.event)
	}
	return all
}

func TestAStudentsSession(t *testing.T) {
	t.Parallel()
	for _, questions := range []int{0, 1, 3, 20} {
		t.Run(strconv.Itoa(questions), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, recorder := newHub(), new(counts)
				c := params(func(c *classroom.Classroom) {
					c.Questions, c.StudentsPerProctor, c.Think = questions, 5, scenarios.Constant(time.Second)
				})
				start := time.Now()
				if err := session(t.Context(), h, c, 8, 1, seeded(8), recorder); err != nil {
					t.Fatal(err)
				}
				// Before the first question, over each, and after the last.
				if took, want := time.Since(start), time.Duration(questions+2)*time.Second; took != want {
					t.Errorf("the session took %v, want %v", took, want)
				}
				log := h.published("")
				want := []string{"started"}
				for range questions {
					want = append(want, "answered")
				}
				want = append(want, "submitted")
				if !slices.Equal(events(log), want) {
					t.Errorf("published %q, want %q", events(log), want)
				}
				for i, m := range log {
					if m.channel != "class/1/progress" || m.student != 8 || m.publisher != "8/1" {
						t.Errorf("message %d is %+v", i, m)
					}
					if m.event == "answered" && m.question != i {
						t.Errorf("answer %d is to question %d", i, m.question)
					}
				}
				for operation, n := range map[string]int{
					"SUBSCRIBE class/control": 1, "PUBLISH class/progress started": 1,
					"PUBLISH class/progress answered": questions, "PUBLISH class/progress submitted": 1,
				} {
					if got := recorder.get(operation); got != n {
						t.Errorf("%s is counted %d times, want %d", operation, got, n)
					}
				}
				if n := h.listeners("class/1/control/8"); n != 0 {
					t.Errorf("%d subscriptions are left", n)
				}
			})
		})
	}
}

// What a student does when it is told to pause or given more time.
func TestAStudentObeys(t *testing.T) {
	t.Parallel()
	const think, rest = time.Second, 10 * time.Second
	for _, tt := range []struct {
		name    string
		orders  []any // told one after the other, in the middle of the first question
		to      int
		answers int
		longer  time.Duration
	}{
		{"nothing", nil, 1, 3, 0},
		{"a pause", []any{order("pause")}, 1, 3, rest},
		{"two pauses", []any{order("pause"), order("pause")}, 1, 3, 2 * rest},
		{"more time", []any{order("extend")}, 1, 4, think},
		{"more time twice is more time once", []any{order("extend"), order("extend")}, 1, 4, think},
		{"both", []any{order("pause"), order("extend")}, 1, 4, rest + think},
		{"somebody else's orders", []any{order("pause"), order("extend")}, 2, 3, 0},
		{"what it does not understand", []any{order("dance"), map[string]int{"event": 7}, struct{}{}}, 1, 3, 0},
		{"more than it can do", slices.Repeat([]any{order("pause")}, 100), 1, 3, 8 * rest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHub()
				c := params(func(c *classroom.Classroom) {
					c.Questions, c.StudentsPerProctor = 3, 5
					c.Think, c.Pause = scenarios.Constant(think), scenarios.Constant(rest)
				})
				start := time.Now()
				took := make(chan time.Duration, 1)
				go func() {
					if err := session(t.Context(), h, c, 1, 1, seeded(1), new(counts)); err != nil {
						t.Error(err)
					}
					took <- time.Since(start)
				}()
				pass(3 * think / 2)
				proctor := teacher(h)
				for _, event := range tt.orders {
					channel := scenarios.Channel{Name: fmt.Sprintf("class/0/control/%d", tt.to), Pattern: "class/control"}
					if err := proctor.Publish(t.Context(), channel, event); err != nil {
						t.Fatal(err)
					}
				}
				if got, want := <-took, 5*think+tt.longer; got != want {
					t.Errorf("the session took %v, want %v", got, want)
				}
				answers := 0
				for _, m := range h.published("class/0/progress") {
					if m.event == "answered" {
						answers++
					}
				}
				if answers != tt.answers {
					t.Errorf("%d answers, want %d", answers, tt.answers)
				}
			})
		})
	}
}

func order(event string) any { return map[string]string{"event": event} }

// teacher is a user that the test publishes with.
func teacher(h *hub) *scenarios.User {
	return scenarios.NewUser(scenarios.UserConfig{
		Run: run, Number: 0, Conn: &conn{hub: h}, Rand: seeded(0), Clock: wallClock{}, Recorder: new(counts), Account: accounts.Leased{Token: 1},
	})
}

// Three whole groups for ten minutes: who hears what.
func TestGroupsKeepToThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const students, groups = 6, 3
		h := newHub()
		c := params(func(c *classroom.Classroom) {
			c.StudentsPerProctor, c.Questions = students, 3
			c.Think, c.Intervene = scenarios.Uniform(time.Second, 3*time.Second), scenarios.Exponential(7*time.Second, 0)
			c.Period = scenarios.Constant(time.Hour) // one session each, so that nothing falls between two
		})
		recorded, stop := crowd(t, h, c, groups*(students+1))
		pass(10 * time.Minute)

		orders := 0
		for group := range groups {
			// A proctor hears all progress of its group and nothing else.
			proctor := group * (students + 1)
			progress := h.published(fmt.Sprintf("class/%d/progress", group))
			if got := recorded[proctor].get("DELIVER class/progress"); got != len(progress) || got == 0 {
				t.Errorf("proctor %d heard %d of %d messages", proctor, got, len(progress))
			}
			if got := recorded[proctor].get("DELIVER class/control"); got != 0 {
				t.Errorf("proctor %d heard %d orders", proctor, got)
			}
			control := h.published(fmt.Sprintf("class/%d/control/", group))
			heard := 0
			for number := proctor + 1; number <= proctor+students; number++ {
				heard += recorded[number].get("DELIVER class/control")
				if got := recorded[number].get("DELIVER class/progress"); got != 0 {
					t.Errorf("student %d heard %d messages of progress", number, got)
				}
			}
			orders += len(control)
			// Whoever leaves the roll at that moment may be between two sessions.
			if missed := len(control) - heard; missed < 0 || missed > len(control)/20 {
				t.Errorf("group %d: students heard %d of %d orders", group, heard, len(control))
			}
			for _, m := range control {
				student, err := strconv.Atoi(m.channel[strings.LastIndex(m.channel, "/")+1:])
				if err != nil || student <= proctor || student > proctor+students {
					t.Errorf("group %d: an order for %s", group, m.channel)
				}
				if from, _, _ := strings.Cut(m.publisher, "/"); from != strconv.Itoa(proctor) {
					t.Errorf("group %d: an order from user %s", group, from)
				}
				if m.event != "pause" && m.event != "extend" {
					t.Errorf("group %d: order %q", group, m.event)
				}
			}
			if !slices.Contains(events(control), "pause") || !slices.Contains(events(control), "extend") {
				t.Errorf("group %d: in ten minutes no pause or no extension: %q", group, events(control))
			}
		}
		if got := len(h.published("class/")); got != len(h.published("")) || orders == 0 {
			t.Errorf("%d of %d messages are on the groups' channels", got, len(h.published("")))
		}
		stop()
	})
}

// Orders go to those who have started and not yet submitted.
func TestProctorTellsThoseWhoArePresent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		c := params(func(c *classroom.Classroom) {
			c.StudentsPerProctor, c.Intervene, c.Period = 5, scenarios.Constant(10*time.Second), scenarios.Constant(35*time.Second)
		})
		over := make(chan time.Duration, 1)
		start := time.Now()
		go func() {
			if err := session(t.Context(), h, c, 0, 1, seeded(0), new(counts)); err != nil {
				t.Error(err)
			}
			over <- time.Since(start)
		}()
		synctest.Wait()
		student := teacher(h) // says what students say
		progress := scenarios.Channel{Name: "class/0/progress", Pattern: "class/progress"}
		tell := func(event string, number int) {
			t.Helper()
			if err := student.Publish(t.Context(), progress, map[string]any{"event": event, "student": number}); err != nil {
				t.Fatal(err)
			}
		}
		told := func() (channels []string) {
			for _, m := range h.published("class/0/control/") {
				channels = append(channels, strings.TrimPrefix(m.channel, "class/0/control/"))
			}
			return channels
		}
		pass(10 * time.Second) // nobody is there
		if got := told(); len(got) != 0 {
			t.Errorf("told %q before anybody had started", got)
		}
		tell("started", 3)
		tell("started", 1)
		tell("answered", 5) // it had started before the proctor came
		pass(10 * time.Second)
		if got := told(); !slices.Equal(got, []string{"1", "3", "5"}) {
			t.Errorf("told %q, want 1, 3 and 5", got)
		}
		tell("submitted", 3)
		tell("submitted", 3)
		pass(10 * time.Second)
		if got := told(); !slices.Equal(got, []string{"1", "3", "5", "1", "5"}) {
			t.Errorf("told %q, want 1 and 5 the second time", got)
		}
		if took := <-over; took != 35*time.Second {
			t.Errorf("the proctor's session took %v", took)
		}
	})
}

// Whoever is told to stop stops at once, and says why.
func TestSessionsStop(t *testing.T) {
	t.Parallel()
	errStop := errors.New("stop")
	for number, who := range []string{"proctor", "student"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHub()
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(13*time.Second, func() { cancel(errStop) })
				start := time.Now()
				c := params(func(*classroom.Classroom) {})
				if err := session(ctx, h, c, number, 1, seeded(number), new(counts)); err != errStop || time.Since(start) != 13*time.Second {
					t.Errorf("ended after %v with %v", time.Since(start), err)
				}
				before := len(h.published(""))
				if err := session(ctx, h, c, number, 2, seeded(number), new(counts)); err != errStop || len(h.published("")) != before {
					t.Errorf("a session after the stop: %v", err)
				}
			})
		})
	}
}

// The same numbers do the same at the same time, in every run.
func TestSameSeedSameBehaviour(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, n int) (lines []string) {
		synctest.Test(t, func(t *testing.T) {
			h := newHub()
			c := params(func(c *classroom.Classroom) {
				c.StudentsPerProctor, c.Questions = 4, 3
				c.Period, c.Intervene = scenarios.Uniform(20*time.Second, 40*time.Second), scenarios.Uniform(5*time.Second, 9*time.Second)
			})
			start := time.Now()
			_, stop := crowd(t, h, c, n)
			pass(3 * time.Minute)
			stop()
			for _, m := range h.published("") {
				lines = append(lines, fmt.Sprintf("%v %s %s %s %d", m.at.Sub(start), m.publisher, m.channel, m.event, m.question))
			}
		})
		slices.Sort(lines) // several at one moment have no order
		return lines
	}
	first, second := play(t, 10), play(t, 10)
	if len(first) < 100 || !slices.Equal(first, second) {
		t.Errorf("two runs differ: %d and %d messages", len(first), len(second))
	}
	// Users of one group do not depend on there being another.
	group0 := func(line string) bool { return !strings.Contains(line, "class/0/") }
	if alone := play(t, 5); !slices.Equal(slices.DeleteFunc(slices.Clone(first), group0), alone) {
		t.Error("a group behaves differently when there is another")
	}
}

// A group is a proctor and the students after it, whatever its size.
func TestGroupArithmetic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		students := rapid.IntRange(1, 10000).Draw(rt, "students")
		number := rapid.IntRange(0, 1_000_000).Draw(rt, "number")
		c := params(func(c *classroom.Classroom) {
			c.StudentsPerProctor, c.Questions, c.Think = students, 0, scenarios.Constant(0)
			c.Period = scenarios.Constant(1)
		})
		group := number / (students + 1)
		class := c.Classes()[c.ClassOf(number)]
		if proctor := number == group*(students+1); (class.Role == classroom.RoleProctor) != proctor || (class.Name == "Proctor") != proctor {
			rt.Errorf("user %d of groups of 1+%d is a %s", number, students, class.Name)
		}
		h, recorder := newHub(), new(counts)
		if err := session(rt.Context(), h, c, number, 1, seeded(number), recorder); err != nil {
			rt.Fatal(err)
		}
		if class.Role == classroom.RoleStudent {
			for _, m := range h.published("") {
				if want := fmt.Sprintf("class/%d/progress", group); m.channel != want || m.student != number {
					rt.Errorf("user %d publishes %+v, want on %s", number, m, want)
				}
			}
		}
		n := rapid.IntRange(1, 3*(students+1)).Draw(rt, "users")
		peak := scenarios.PeakByRole(c, n)
		if proctors := (n + students) / (students + 1); peak[classroom.RoleProctor] != proctors || peak[classroom.RoleStudent] != n-proctors {
			rt.Errorf("%d users are %v, want %d proctors", n, peak, proctors)
		}
	})
}

func TestClasses(t *testing.T) {
	t.Parallel()
	c := params(func(c *classroom.Classroom) { c.StudentsPerProctor = 12 })
	classes := c.Classes()
	if len(classes) != 2 || classes[0].Name != "Proctor" || classes[0].Weight != 1 || classes[1].Name != "Student" || classes[1].Weight != 12 {
		t.Errorf("classes %+v", classes)
	}
	if got := c.Crowd(); got != (scenarios.Channel{Name: "class/0/progress", Pattern: "class/progress"}) {
		t.Errorf("crowd %+v", got)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	if err := classroom.Scenario.New().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	env := scenarios.ParseEnv{Scenarios: []scenarios.Scenario{classroom.Scenario}, Schemes: []string{"http+poll"}}
	parse := func(params string) (*scenarios.Spec, error) {
		return scenarios.ParseSpec("throng.yaml", []byte("scenario: classroom\ntarget: http+poll://127.0.0.1:1\nparams: "+params), env)
	}
	for _, tt := range []struct {
		params string
		want   []string // the keys that are wrong
	}{
		{"{}", nil},
		{"{ students_per_proctor: 1, questions: 0, think: 0s, pause: 0s }", nil},
		{"{ students_per_proctor: 10000, questions: 100000 }", nil},
		{"{ intervene: { exponential: 30s }, period: { lognormal: { median: 2m, sigma: 0.3 } } }", nil},
		{"{ students_per_proctor: 0 }", []string{"students_per_proctor"}},
		{"{ students_per_proctor: 10001 }", []string{"students_per_proctor"}},
		{"{ students_per_proctor: -1, questions: -1, period: 0s, intervene: 0s }", []string{"students_per_proctor", "questions", "period", "intervene"}},
		{"{ questions: 100001 }", []string{"questions"}},
		{"{ student_per_proctor: 5, thinks: 1s }", []string{"student_per_proctor", "thinks"}},
	} {
		_, err := parse(tt.params)
		var wrong *scenarios.SpecError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatalf("%s: %v", tt.params, err)
		}
		var keys []string
		if wrong != nil {
			for _, p := range wrong.Problems {
				keys = append(keys, strings.TrimPrefix(p.Path, "params."))
			}
		}
		slices.Sort(keys)
		slices.Sort(tt.want)
		if !slices.Equal(keys, tt.want) {
			t.Errorf("%s: wrong are %q, want %q: %v", tt.params, keys, tt.want, err)
		}
	}
	spec, err := parse("{ students_per_proctor: 7, questions: 2, think: 3s }")
	if err != nil {
		t.Fatal(err)
	}
	if c := spec.Behaviour.(*classroom.Classroom); c.StudentsPerProctor != 7 || c.Questions != 2 || c.Think.Mean() != 3*time.Second {
		t.Errorf("parsed %+v", c)
	}
}
