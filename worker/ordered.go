package worker

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/worker/bridge"
	"github.com/throng-load/throng/worker/rig"
)

const (
	// exchangeTimeout bounds one exchange of user numbers.
	exchangeTimeout = 2 * time.Second
	// renewEvery is how often a worker says that it still has its numbers.
	renewEvery = time.Second
	// orderSpread is the time over which the users that an order adds are
	// started: a Locust master that ramps up orders more each second.
	orderSpread = time.Second
	// differEvery is how often it is said that fewer users act than ordered.
	differEvery = 5 * time.Second
)

// Pilot orders the users of a worker in a plan's place.
type Pilot interface {
	bridge.Reporter
	// Run keeps in touch with whoever orders, until ctx ends.
	Run(ctx context.Context) error
	// Orders returns what is ordered now.
	Orders() bridge.Orders
	// Running tells how many users of each class follow the orders; the map is
	// not changed any more.
	Running(byClass map[string]int)
	// Hurry sets what the pilot calls, from any goroutine, when results that are
	// not reported soon would be too late; nil for nothing.
	Hurry(report func())
}

// RunBridged joins the swarm and runs the users that a pilot orders, until ctx
// ends. It ends like Run. With a spec it stands in for a master where there is
// none.
func RunBridged(ctx context.Context, cfg rig.Config, pilot Pilot, spec *scenarios.Spec) error {
	keeper := cfg
	standIn, err := bridge.NewStandIn(bridge.Config{
		Redis: cfg.Redis, Namespace: cfg.Namespace, Swarm: cfg.Swarm, Spec: spec,
		Orders: pilot.Orders, Probe: pilot, Log: cfg.Log,
		Keep: func(ctx context.Context) { keepPool(ctx, keeper, spec) },
	})
	if err != nil {
		return err
	}
	// The pilot and the stand-in are needed until the last user has gone.
	bridgeCtx, leave := context.WithCancel(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group := new(errgroup.Group)
	for _, run := range []func(context.Context) error{pilot.Run, standIn.Run} {
		group.Go(func() error {
			defer stop()
			return run(bridgeCtx)
		})
	}
	group.Go(func() error {
		defer leave()
		cfg.Keep = nil // whoever leads does that
		return rig.Run(ctx, cfg, coord.KindWorker, func(ctx context.Context, r *rig.Rig) error { return play(ctx, r, pilot) })
	})
	return group.Wait()
}

// keepPool looks after the spec's pool, as far as it is there, until ctx ends.
func keepPool(ctx context.Context, cfg rig.Config, spec *scenarios.Spec) {
	if cfg.Keep == nil {
		return
	}
	retry := time.NewTicker(renewEvery)
	defer retry.Stop()
	for {
		pool, err := accounts.Open(ctx, accounts.Config{Redis: cfg.Redis, Namespace: cfg.Namespace, Name: spec.Accounts.Pool, Keys: cfg.Keys, Log: cfg.Log})
		if err == nil {
			cfg.Keep(ctx, pool, spec, cfg.Log)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// ordered is the course that a pilot's orders set. What is ordered is how many
// users run here; which numbers they have is agreed with the other workers. All
// its fields but requests and replies belong to the conductor's goroutine.
type ordered struct {
	*run
	pilot   Pilot
	numbers *coord.Numbers // of the goroutine of exchange
	stops   int64          // of the orders, when the run began here
	users   int            // ordered last
	rate    float64

	mine    *owned       // run
	leaving map[int]bool // held, but their users are to end
	// An exchange is under way since asked if busy.
	busy     bool
	asked    time.Time
	requests chan request
	replies  chan reply
	// The goroutine of exchange.
	ended sync.WaitGroup

	failing  bool      // said, so that it is said once
	unknown  bool      // said likewise: classes that the scenario lacks
	differed time.Time // when it was last said, or all acted
}

type request struct {
	back []int
	take coord.Take
}

type reply struct {
	taken, lost []int
	err         error
}

// owned is a set of numbers.
type owned struct {
	list    []int // in order
	set     map[int]bool
	byClass []int
}

func (o *owned) Has(number int) bool { return o.set[number] }
func (o *owned) Number(i int) int    { return o.list[i] }

func newOrdered(w *run, pilot Pilot) *ordered {
	o := &ordered{
		run: w, pilot: pilot, stops: pilot.Orders().Stops,
		numbers: coord.NewNumbers(coord.NumbersConfig{
			Redis: w.Redis, Namespace: w.Namespace, Swarm: w.Swarm, Run: w.Run, ID: w.Member.ID(),
			Classes: len(w.classes), ClassOf: w.acting.ClassOf, Max: w.Spec.Safety.MaxUsers,
		}),
		leaving:  make(map[int]bool),
		requests: make(chan request, 1), replies: make(chan reply, 1), differed: time.Now(),
	}
	o.own(nil)
	o.ended.Go(o.exchange)
	return o
}

// exchange makes the calls to Redis, so that users are looked after meanwhile.
// It ends when requests is closed, and gives everything back.
func (o *ordered) exchange() {
	call := func(f func(context.Context)) {
		ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout)
		defer cancel()
		f(ctx)
	}
	for q := range o.requests {
		call(func(ctx context.Context) {
			var r reply
			r.taken, r.lost, r.err = o.numbers.Exchange(ctx, q.back, q.take)
			o.replies <- r // which is empty: one request at a time
		})
	}
	call(func(ctx context.Context) {
		if err := o.numbers.Leave(ctx); err != nil {
			o.Log.Debug("user numbers not given back; they come back by themselves", zap.Error(err))
		}
	})
}

func (o *ordered) leave() {
	close(o.requests)
	o.ended.Wait()
}

func (o *ordered) look(running map[int]*user) wanted {
	select {
	case r := <-o.replies:
		o.take(r)
	default:
	}
	orders := o.pilot.Orders()
	users := orders.Wanted()
	if orders.Stops != o.stops {
		users = 0 // the test that this run was for is over
	}
	if users != o.users {
		o.rate = max(1, float64(users-len(o.mine.list))/orderSpread.Seconds())
		o.users = users
	}
	testing := orders.Joined && orders.On && orders.Stops == o.stops
	o.SetState(func(s *coord.State) { s.Ordered, s.Testing = users, testing })
	take, known := o.adjust(users, orders)
	o.ask(running, take)
	if known {
		o.tellDifference(len(running))
	}
	n := len(o.mine.list)
	return wanted{numbers: o.mine, now: n, soon: n, below: math.MaxInt, rate: o.rate, rateSoon: o.rate}
}

// take enters what has come of an exchange. Numbers that are not wanted any more
// leave with the next adjustment.
func (o *ordered) take(r reply) {
	o.busy = false
	if r.err != nil && !o.failing {
		o.Log.Warn("user numbers wait for Redis", zap.Error(r.err))
	}
	o.failing = r.err != nil
	if len(r.lost) > 0 {
		o.Log.Warn("others have user numbers of this worker, which was not heard of", zap.Int("users", len(r.lost)))
	}
	if len(r.taken)+len(r.lost) == 0 {
		return
	}
	list := append(slices.Clone(o.mine.list), r.taken...)
	list = slices.DeleteFunc(list, func(number int) bool { return slices.Contains(r.lost, number) })
	for _, number := range r.lost {
		delete(o.leaving, number)
	}
	o.own(list)
}

// own makes these the numbers that run.
func (o *ordered) own(list []int) {
	slices.Sort(list)
	next := &owned{list: list, set: make(map[int]bool, len(list)), byClass: make([]int, len(o.classes))}
	names := make(map[string]int, len(o.classes))
	for _, number := range list {
		next.set[number] = true
		next.byClass[o.acting.ClassOf(number)]++
	}
	for class, n := range next.byClass {
		names[o.classes[class].Name] = n
	}
	o.mine = next
	o.pilot.Running(names)
}

// adjust lets numbers go that are not wanted and takes those back that are, and
// returns how many more are needed. It returns false if it is not known yet what
// is wanted.
func (o *ordered) adjust(users int, orders bridge.Orders) (coord.Take, bool) {
	classOf := o.acting.ClassOf
	var of []int // of each class; nil for any
	switch {
	case users == 0:
	case orders.Classes != nil:
		of = o.byClass(orders.Classes)
	case !orders.Weights:
		return coord.Take{}, false
	}
	// What is wanted of a number's class, or of all.
	left, want := []int{users}, func(int) int { return 0 }
	if of != nil {
		left, want = slices.Clone(of), classOf
	}
	var list []int
	changed := false
	for _, number := range o.mine.list {
		if k := want(number); left[k] > 0 {
			left[k]--
			list = append(list, number)
		} else {
			o.leaving[number] = true
			changed = true
		}
	}
	for _, number := range slices.Sorted(maps.Keys(o.leaving)) {
		if k := want(number); left[k] > 0 {
			left[k]--
			delete(o.leaving, number)
			list = append(list, number)
			changed = true
		}
	}
	if changed {
		o.own(list)
	}
	if of != nil {
		return coord.Take{Of: left}, true
	}
	return coord.Take{Any: left[0]}, true
}

// byClass returns how many users of each class of the scenario are ordered, or
// nil if classes are ordered that it lacks.
func (o *ordered) byClass(names map[string]int) []int {
	of := make([]int, len(o.classes))
	for name, n := range names {
		class := slices.IndexFunc(o.classes, func(c scenarios.Class) bool { return c.Name == name })
		switch {
		case class >= 0:
			of[class] = n
		case n > 0:
			if !o.unknown {
				o.unknown = true
				o.Log.Warn("the Locust master orders users of a class that the scenario lacks, so its weights decide: print its locustfile anew with `throng locustfile`", zap.String("class", name), zap.String("scenario", o.Spec.Scenario))
			}
			return nil
		}
	}
	return of
}

// ask begins an exchange if there is something to give back or to take, or if it
// is time to be heard of.
func (o *ordered) ask(running map[int]*user, take coord.Take) {
	if o.busy {
		return
	}
	var back []int
	for number := range o.leaving {
		if running[number] == nil {
			back = append(back, number)
		}
	}
	needs := len(back) > 0 || take.Any > 0 || slices.ContainsFunc(take.Of, func(n int) bool { return n > 0 })
	since := time.Since(o.asked)
	if since < conductEvery || since < renewEvery && (!needs || o.failing) {
		return
	}
	for _, number := range back {
		delete(o.leaving, number)
	}
	o.busy, o.asked = true, time.Now()
	o.requests <- request{back, take} // which is empty: one at a time
}

// tellDifference says now and then that fewer users act than Locust's page shows.
func (o *ordered) tellDifference(running int) {
	acting := running - int(o.waiting.Load())
	if acting >= o.users {
		o.differed = time.Now()
	} else if time.Since(o.differed) > differEvery {
		o.differed = time.Now()
		o.Log.Warn("fewer users act than Locust's page shows",
			zap.Int("ordered", o.users), zap.Int("acting", acting), zap.Int64("without_account", o.waiting.Load()))
	}
}
