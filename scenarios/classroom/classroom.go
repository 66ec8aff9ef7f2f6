// Package classroom is the reference scenario: an online class that sits a
// quiz. A group has one proctor and a number of students. It follows the load
// that Learnosity described for its Events API (two public articles on their
// engineering blog): users that publish and subscribe as real students and
// proctors do, long polls with a cursor, random think times, and control
// subscriptions that are idle nearly all the time. The articles do not publish
// the size of a group, so it is a parameter.
//
// The package knows the scenario API alone.
package classroom

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/throng-load/throng/scenarios"
)

// Scenario is the entry for the command line.
var Scenario = scenarios.Scenario{
	Name:    "classroom",
	Summary: "groups of students answer a quiz while a proctor follows them and steps in now and then",
	New:     func() scenarios.Behaviour { return defaults() },
}

// Roles of the accounts that the scenario leases.
const (
	RoleStudent = "student"
	RoleProctor = "proctor"
)

// Classroom is the behaviour; its exported fields are the parameters.
type Classroom struct {
	// StudentsPerProctor is the size of a group without its proctor.
	StudentsPerProctor int `yaml:"students_per_proctor"`
	// Questions is how many a student answers in one session.
	Questions int `yaml:"questions"`
	// Think is the time a student takes over one question, and before the
	// first and after the last.
	Think scenarios.Dist `yaml:"think"`
	// Period is how long a proctor follows the group in one session.
	Period scenarios.Dist `yaml:"period"`
	// Intervene is the time between two interventions of a proctor.
	Intervene scenarios.Dist `yaml:"intervene"`
	// Pause is how long a student stops when told to pause.
	Pause scenarios.Dist `yaml:"pause"`
}

func defaults() *Classroom {
	return &Classroom{
		StudentsPerProctor: 30,
		Questions:          20,
		Think:              scenarios.Uniform(2*time.Second, 8*time.Second),
		Period:             scenarios.Constant(2 * time.Minute),
		Intervene:          scenarios.Exponential(30*time.Second, 0),
		Pause:              scenarios.Uniform(2*time.Second, 5*time.Second),
	}
}

// Validate reports every parameter that is wrong.
func (c *Classroom) Validate() error {
	var problems []error
	if c.StudentsPerProctor < 1 || c.StudentsPerProctor > 10000 {
		problems = append(problems, &scenarios.ParamError{Param: "students_per_proctor", Text: fmt.Sprintf("%d is not between 1 and 10000", c.StudentsPerProctor)})
	}
	if c.Questions < 0 || c.Questions > 100000 {
		problems = append(problems, &scenarios.ParamError{Param: "questions", Text: fmt.Sprintf("%d is not between 0 and 100000", c.Questions)})
	}
	if c.Period.Mean() <= 0 {
		problems = append(problems, &scenarios.ParamError{Param: "period", Text: "a proctor's session must last longer than 0s"})
	}
	if c.Intervene.Mean() <= 0 {
		problems = append(problems, &scenarios.ParamError{Param: "intervene", Text: "interventions must be more than 0s apart"})
	}
	return errors.Join(problems...)
}

// Classes returns Proctor and Student.
func (c *Classroom) Classes() []scenarios.Class {
	return []scenarios.Class{
		{Name: "Proctor", Role: RoleProctor, Weight: 1, Session: c.proctor},
		{Name: "Student", Role: RoleStudent, Weight: c.StudentsPerProctor, Session: c.student},
	}
}

// ClassOf makes the first user of each group its proctor.
func (c *Classroom) ClassOf(number int) int {
	if number%(c.StudentsPerProctor+1) == 0 {
		return 0
	}
	return 1
}

// Crowd is the progress of the first group, the one that is there as long as
// any user is.
func (c *Classroom) Crowd() scenarios.Channel { return progress(0) }

func (c *Classroom) group(number int) int { return number / (c.StudentsPerProctor + 1) }

func progress(group int) scenarios.Channel {
	return scenarios.Channel{Name: fmt.Sprintf("class/%d/progress", group), Pattern: "class/progress"}
}

func control(group, student int) scenarios.Channel {
	return scenarios.Channel{Name: fmt.Sprintf("class/%d/control/%d", group, student), Pattern: "class/control"}
}

// What a student tells its proctor, and a proctor a student.
type (
	progressEvent struct {
		Event    string `json:"event"` // started, answered, submitted
		Student  int    `json:"student"`
		Question int    `json:"question,omitempty"`
	}
	controlEvent struct {
		Event string `json:"event"` // pause, extend
	}
)

const (
	started   = "started"
	answered  = "answered"
	submitted = "submitted"
	pause     = "pause"
	extend    = "extend"
)

// student sits one quiz: listens to its own control channel, says that it has
// started, answers question after question, and submits.
func (c *Classroom) student(ctx context.Context, u *scenarios.User) error {
	group := c.group(u.Number)
	orders := make(chan string, 8) // more than a student can be told between two answers
	err := u.Subscribe(ctx, control(group, u.Number), func(m scenarios.Message) {
		var order controlEvent
		if m.Decode(&order) == nil {
			select {
			case orders <- order.Event:
			default: // a student that is told more than it can do does not do it
			}
		}
	})
	if err != nil {
		return err
	}
	tell := func(event string, question int) error {
		ch := progress(group)
		// Started, answered and submitted are different things to whoever
		// reads the statistics, though they share a channel.
		ch.Pattern += " " + event
		return u.Publish(ctx, ch, progressEvent{Event: event, Student: u.Number, Question: question})
	}
	if err := u.Think(ctx, c.Think); err != nil { // reads what the quiz is about
		return err
	}
	if err := tell(started, 0); err != nil {
		return err
	}
	questions := c.Questions
	for question := 1; question <= questions; question++ {
		if err := u.Think(ctx, c.Think); err != nil {
			return err
		}
		extended, err := c.obey(ctx, u, orders)
		if err != nil {
			return err
		}
		if extended {
			questions = c.Questions + 1 // more time is one more question, once
		}
		if err := tell(answered, question); err != nil {
			return err
		}
	}
	if err := u.Think(ctx, c.Think); err != nil { // looks the answers over
		return err
	}
	return tell(submitted, 0)
}

// obey does what the proctor has asked for since the last answer.
func (c *Classroom) obey(ctx context.Context, u *scenarios.User, orders <-chan string) (extended bool, err error) {
	for {
		select {
		case order := <-orders:
			switch order {
			case extend:
				extended = true
			case pause:
				if err := u.Think(ctx, c.Pause); err != nil {
					return extended, err
				}
			}
		default:
			return extended, nil
		}
	}
}

// proctor follows its group for one period, and now and then pauses it or
// gives it more time.
func (c *Classroom) proctor(ctx context.Context, u *scenarios.User) error {
	group := c.group(u.Number)
	class := newRollCall()
	err := u.Subscribe(ctx, progress(group), func(m scenarios.Message) {
		var p progressEvent
		if m.Decode(&p) == nil {
			class.note(p)
		}
	})
	if err != nil {
		return err
	}
	end := time.Now().Add(c.Period.Sample(u.Rand))
	for {
		next := c.Intervene.Sample(u.Rand)
		if left := time.Until(end); next >= left {
			return scenarios.Sleep(ctx, left)
		}
		if err := scenarios.Sleep(ctx, next); err != nil {
			return err
		}
		order := controlEvent{Event: pause}
		if u.Rand.IntN(2) == 0 {
			order.Event = extend
		}
		for _, student := range class.present() {
			if err := u.Publish(ctx, control(group, student), order); err != nil {
				return err
			}
		}
	}
}

// rollCall is what a proctor knows of its group: who has started and not yet
// submitted. The subscription notes, the session asks.
type rollCall struct {
	mu      sync.Mutex
	working map[int]struct{}
}

func newRollCall() *rollCall { return &rollCall{working: make(map[int]struct{})} }

func (r *rollCall) note(p progressEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Event == submitted {
		delete(r.working, p.Student)
		return
	}
	r.working[p.Student] = struct{}{}
}

func (r *rollCall) present() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.working))
}
