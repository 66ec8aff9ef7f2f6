package scenarios

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// farthest is how far numbers are looked at for one of a picked class.
const farthest = 1 << 20

// Acting is the behaviour of the users that run: the scenario's, or that of the
// classes that load.classes picks. It is made anew with each call.
func (s *Spec) Acting() Behaviour {
	if len(s.Load.Classes) == 0 || s.Behaviour == nil {
		return s.Behaviour
	}
	p := &picked{Behaviour: s.Behaviour}
	for i, class := range s.Behaviour.Classes() {
		p.classes = append(p.classes, class)
		p.keep = append(p.keep, slices.Contains(s.Load.Classes, class.Name))
		p.classes[i].Session = func(ctx context.Context, u *User) error {
			u.Number = p.number(u.Number)
			return class.Session(ctx, u)
		}
	}
	return p
}

// picked is a behaviour of which only some classes act. User i is the scenario's
// i-th user of those classes, so what follows from a number (its class, its group)
// is what it would be among all.
type picked struct {
	Behaviour
	classes []Class
	keep    []bool // by class

	mu      sync.Mutex // guards what follows
	numbers []int      // of the scenario, in order
	next    int        // the first that was not looked at
}

func (p *picked) Classes() []Class { return p.classes }

func (p *picked) ClassOf(number int) int { return p.Behaviour.ClassOf(p.number(number)) }

// number returns the scenario's number of user i. A scenario that has only so many
// users of the classes has them more than once.
func (p *picked) number(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seen := 0; len(p.numbers) <= i && seen < farthest; p.next++ {
		seen++
		if p.keep[p.Behaviour.ClassOf(p.next)] {
			p.numbers = append(p.numbers, p.next)
			seen = 0
		}
	}
	if len(p.numbers) == 0 {
		return i // the spec's check does not let that happen
	}
	return p.numbers[i%len(p.numbers)]
}

// classes checks the classes that are picked.
func (c *checker) classes(picked []string, b Behaviour) {
	if b == nil {
		return
	}
	var names []string
	for _, class := range b.Classes() {
		names = append(names, class.Name)
	}
	for i, name := range picked {
		c.require(slices.Contains(names, name), fmt.Sprintf("load.classes[%d]", i), "%s", unknownName("user class", name, names))
	}
}
