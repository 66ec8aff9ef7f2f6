package worker

import (
	"github.com/throng-load/throng/internal/coord"
)

// course says which users a worker runs. Its methods are called by the
// conductor's goroutine alone.
type course interface {
	// look returns what is wanted at this moment; running is who runs.
	look(running map[int]*user) wanted
	// leave is called when the last user has gone.
	leave()
}

// wanted is which of its numbers a worker is to run.
type wanted struct {
	// numbers are the worker's. Sets that are not equal are different.
	numbers numberSet
	// handed says that numbers that are not among them any more have been handed
	// to other workers; otherwise nobody wants them.
	handed bool
	// now is how many of them, from the lowest, run at this moment, and soon how
	// many after lookAhead.
	now, soon int
	// below bounds the numbers that anybody runs: users beyond are not wanted.
	below int
	// rate is how many users a second may start at this worker at this moment,
	// and rateSoon after lookAhead.
	rate, rateSoon float64
}

// numberSet is a set of user numbers that does not change.
type numberSet interface {
	Has(number int) bool
	// Number returns the i-th number, from 0, in ascending order.
	Number(i int) int
}

// planned is the course that the plan and the slots set.
type planned struct{ *run }

func (p planned) look(map[int]*user) wanted {
	view := p.Member.View()
	plan, slots := &view.Plan, view.Slots
	now := p.Member.Clock().Now()
	soon := now.Add(lookAhead)
	share := float64(slots.Len()) / coord.Slots
	// The plan is bounded already; a typing mistake has to pass here too.
	most := p.Spec.Safety.MaxUsers
	users := min(plan.Users(now), most)
	return wanted{
		numbers: slots, handed: true,
		now: slots.Count(users), soon: slots.Count(min(plan.Users(soon), most)), below: users,
		rate: plan.Rate(now) * share, rateSoon: plan.Rate(soon) * share,
	}
}

func (planned) leave() {}

// newCourse returns what the users of a run follow.
func (w *run) newCourse() course {
	if w.pilot != nil {
		return newOrdered(w, w.pilot)
	}
	return planned{w}
}
