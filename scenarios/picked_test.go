package scenarios_test

import (
	"context"
	"maps"
	"testing"

	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// Of picked classes, users are those that the scenario has of them, in order.
func TestPickedClasses(t *testing.T) {
	t.Parallel()
	parse := func(load string) (*scenarios.Spec, error) {
		return scenarios.ParseSpec("x", []byte("scenario: classroom\ntarget: http+poll://h\nparams: { students_per_proctor: 3 }\nload: { "+load+" }\n"),
			scenarios.ParseEnv{Scenarios: []scenarios.Scenario{classroom.Scenario}, Schemes: []string{"http+poll"}})
	}
	for _, tt := range []struct {
		load  string
		roles map[string]int
	}{
		{"users: 8", map[string]int{"proctor": 2, "student": 6}},
		{"users: 8, classes: [Student]", map[string]int{"student": 8}},
		{"users: 8, classes: [Proctor]", map[string]int{"proctor": 8}},
		{"users: 8, classes: [Proctor, Student]", map[string]int{"proctor": 2, "student": 6}},
	} {
		spec, err := parse(tt.load)
		if err != nil {
			t.Fatal(err)
		}
		if got := scenarios.PeakByRole(spec.Acting(), 8); !maps.Equal(got, tt.roles) {
			t.Errorf("%s: roles %v, want %v", tt.load, got, tt.roles)
		}
		if need := spec.NeededAccounts(); need["student"] != tt.roles["student"] || need["proctor"] != tt.roles["proctor"] {
			t.Errorf("%s: needs %v", tt.load, need)
		}
		text, err := spec.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := scenarios.ParseSpec("again", text, scenarios.ParseEnv{Scenarios: []scenarios.Scenario{classroom.Scenario}, Schemes: []string{"http+poll"}}); err != nil {
			t.Errorf("%s: does not survive: %v", tt.load, err)
		}
	}
	if _, err := parse("users: 8, classes: [Studnet]"); err == nil {
		t.Error("an unknown class is accepted")
	}
}

// twoKinds notes which numbers act.
type twoKinds struct{ acted chan int }

func (twoKinds) Validate() error          { return nil }
func (twoKinds) ClassOf(number int) int   { return number % 2 }
func (twoKinds) Crowd() scenarios.Channel { return scenarios.Channel{Name: "c", Pattern: "c"} }
func (k twoKinds) Classes() []scenarios.Class {
	session := func(_ context.Context, u *scenarios.User) error { k.acted <- u.Number; return nil }
	return []scenarios.Class{{Name: "Even", Role: "r", Weight: 1, Session: session}, {Name: "Odd", Role: "r", Weight: 1, Session: session}}
}

// A session sees the number that its user has in the scenario.
func TestPickedSessionHasItsNumber(t *testing.T) {
	t.Parallel()
	b := twoKinds{make(chan int, 1)}
	acting := (&scenarios.Spec{Behaviour: b, Load: scenarios.LoadSpec{Classes: []string{"Odd"}}}).Acting()
	for i := range 5 {
		u := scenarios.NewUser(scenarios.UserConfig{Number: i})
		if err := acting.Classes()[acting.ClassOf(i)].Session(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if got := <-b.acted; got != 2*i+1 {
			t.Errorf("user %d acts as %d, want %d", i, got, 2*i+1)
		}
	}
}
