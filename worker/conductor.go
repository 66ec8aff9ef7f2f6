package worker

import (
	"context"
	"errors"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
)

const (
	// conductEvery is how finely a ramp is followed.
	conductEvery = 20 * time.Millisecond
	// stopGrace is how long a stopped user may take to finish the operation
	// under way and log out, before its connections are closed.
	stopGrace = 5 * time.Second
	// burst bounds how many users are started at once when the worker is
	// behind the plan, in seconds of its share of the spawn rate.
	burst = 0.25
	// lookAhead is how long before their users start accounts are fetched.
	lookAhead = time.Second
)

var (
	errStopped = errors.New("worker: user stopped")
	errAborted = errors.New("worker: user did not stop in time")
)

// conductor owns the users of one run at one worker. All its fields belong to
// the goroutine of conduct.
type conductor struct {
	*run
	users  map[int]*user
	course course
	// prefix is how many of the worker's numbers, from the lowest, are known
	// to be running.
	prefix    int
	numbers   numberSet
	allowance float64 // users that may be started now
	last      time.Time
	exited    chan *user
	// ahead is how many users of each role are about to start, as of
	// lookedAhead.
	ahead        map[string]int
	lookedAhead  time.Time
	untouched    bool // said, so that it is said once
	uncontrolled bool // the same
}

// conduct starts and stops users as the course says, until ctx or the run has
// ended and the last user has gone.
func (w *run) conduct(ctx context.Context) {
	c := &conductor{run: w, course: w.newCourse(), users: make(map[int]*user), last: time.Now(), exited: make(chan *user, 64), allowance: 1, ahead: make(map[string]int)}
	defer c.course.leave()
	ticker := time.NewTicker(conductEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
		case u := <-c.exited:
			c.remove(u)
			continue // a burst of exits is one change
		case <-w.Member.Changed():
		case <-ticker.C:
		}
		view := w.Member.View()
		if ctx.Err() != nil || w.over() || view.Plan.Phase == coord.PhaseStopping {
			stopTimeout := time.Duration(w.Spec.Load.StopTimeout)
			if ctx.Err() != nil {
				// Others take the users over while these finish.
				w.SetState(func(s *coord.State) { s.Leaving = true })
				w.Member.Hurry()
				stopTimeout = min(stopTimeout, time.Duration(w.Spec.DeadMan)) // it may be its parent that is gone
			}
			c.stopAll(ctx, stopTimeout)
			return
		}
		c.watchTouch(view)
		next := c.course.look(c.users)
		if !c.controlled() {
			next.now, next.soon, next.below = 0, 0, 0
		}
		c.follow(next, view)
		w.SetState(func(s *coord.State) { s.Users = len(c.users) })
	}
}

// watchTouch says when Redis is out of touch and when it is back.
func (c *conductor) watchTouch(view *coord.View) {
	inTouch := c.InTouch(view)
	if inTouch != c.untouched {
		return
	}
	c.untouched = !inTouch
	if inTouch {
		c.Log.Info("in touch with Redis again: users start")
	} else {
		c.Log.Warn("Redis does not answer: no user and no session begins", zap.Int("users", len(c.users)))
	}
}

// controlled says whether somebody controls the swarm; without that it is to have
// no users.
func (c *conductor) controlled() bool {
	controlled := c.Controlled()
	if controlled == c.uncontrolled {
		c.uncontrolled = !controlled
		if controlled {
			c.Log.Info("somebody controls the swarm again: users start")
		} else {
			c.Log.Warn("nobody controls the swarm: users end", zap.Duration("since", time.Duration(c.Spec.DeadMan)), zap.Int("users", len(c.users)))
		}
	}
	return controlled
}

// follow moves the users towards what is wanted.
func (c *conductor) follow(w wanted, view *coord.View) {
	if w.numbers != c.numbers {
		c.numbers = w.numbers
		c.prefix = 0
		for number, u := range c.users {
			switch {
			case c.numbers.Has(number):
			case w.handed:
				u.finish() // another worker's now; its session ends by itself
			default:
				u.leave(time.Duration(c.Spec.Load.StopTimeout))
			}
		}
	}
	if len(c.users) > w.now {
		for number, u := range c.users {
			if number >= w.below {
				u.leave(time.Duration(c.Spec.Load.StopTimeout))
			}
		}
	}
	c.prefix = min(c.prefix, w.now)
	c.prefetch(w)

	now := time.Now()
	c.allowance = min(c.allowance+w.rate*now.Sub(c.last).Seconds(), max(1, w.rate*burst))
	c.last = now
	if !c.InTouch(view) {
		return // others may have these users by now
	}
	for ; c.prefix < w.now; c.prefix++ {
		number := c.numbers.Number(c.prefix)
		if c.users[number] != nil {
			continue
		}
		if c.allowance < 1 {
			return
		}
		c.allowance--
		c.users[number] = c.start(number)
	}
}

// prefetch has accounts ready for the users who start within the next moments,
// so that they need not wait for Redis.
func (c *conductor) prefetch(w wanted) {
	if now := time.Now(); now.Sub(c.lookedAhead) >= lookAhead/10 {
		c.lookedAhead = now
	} else {
		return
	}
	// No more can start than the rate allows.
	most := int(math.Ceil(w.rateSoon * lookAhead.Seconds()))
	clear(c.ahead)
	for i := c.prefix; i < w.soon && most > 0; i++ {
		if number := c.numbers.Number(i); c.users[number] == nil {
			c.ahead[c.classes[c.acting.ClassOf(number)].Role]++
			most--
		}
	}
	for role := range c.waits {
		c.Holder.Prefetch(role, c.ahead[role])
	}
}

// remove forgets a user that has ended. If its number is wanted again, follow
// starts it anew.
func (c *conductor) remove(u *user) {
	u.gone()
	delete(c.users, u.number)
	c.prefix = 0
	c.SetState(func(s *coord.State) { s.Users = len(c.users) })
}

// stopAll lets sessions end by themselves for stopTimeout, then stops them,
// and closes the connections of those that do not react. It returns when every
// user has gone.
func (c *conductor) stopAll(ctx context.Context, stopTimeout time.Duration) {
	for role := range c.waits {
		c.Holder.Prefetch(role, 0)
	}
	for _, u := range c.users {
		u.finish()
	}
	ended := ctx.Done()
	if ctx.Err() != nil {
		ended = nil // the stop timeout is short already
	}
	stop := time.NewTimer(stopTimeout)
	defer stop.Stop()
	abort := time.NewTimer(stopTimeout + stopGrace)
	defer abort.Stop()
	for len(c.users) > 0 {
		select {
		case u := <-c.exited:
			c.remove(u)
		case <-ended:
			ended = nil
			if deadMan := time.Duration(c.Spec.DeadMan); deadMan < stopTimeout {
				stop.Reset(deadMan)
				abort.Reset(deadMan + stopGrace)
			}
		case <-stop.C:
			for _, u := range c.users {
				u.stop(errStopped)
			}
		case <-abort.C:
			c.Log.Warn("closing the connections of users that did not stop", zap.Int("users", len(c.users)), zap.Duration("after", stopTimeout+stopGrace))
			for _, u := range c.users {
				u.abort(errAborted)
			}
		}
	}
	c.SetState(func(s *coord.State) { s.Users = 0 })
}
