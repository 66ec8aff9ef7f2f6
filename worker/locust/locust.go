package locust

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/worker/bridge"
)

const (
	// joinEvery is how often a Locust master that is not there is tried.
	joinEvery = 500 * time.Millisecond
	// quitPause is how long one that quits is left alone.
	quitPause = 2 * time.Second
	// ackTimeout is how long a master may take to acknowledge a worker. All that
	// are new enough do.
	ackTimeout = 5 * time.Second
	// lookEvery is how often results are sent, and what nobody tells is looked
	// for.
	lookEvery = time.Second
	// tickAfter is how long after the join the first tick of throng's locustfile
	// is waited for; it sends one each second.
	tickAfter = 2 * time.Second
	// classesAfter is how long results wait to be sent with the number of users
	// of each class.
	classesAfter = 3 * time.Second
)

// DefaultDeadMan is how long users go on when the locustfile's ticks stay away.
const DefaultDeadMan = 60 * time.Second

// Config says which Locust master to join. Address and Log must be set.
type Config struct {
	// Address is the host and port at which the Locust master waits for workers.
	Address string
	// DeadMan is how long users go on without a tick of throng's locustfile;
	// DefaultDeadMan when 0. Where there are none, a master that is gone is
	// noticed by its connection.
	DeadMan time.Duration
	Log     *zap.Logger
}

// Bridge is a worker's seat at a Locust master. Its methods are safe for
// concurrent use; only one can be run in a process.
type Bridge struct {
	cfg Config
	log *zap.Logger

	// sending is held from the moment at which a message is made up until it is
	// handed over, so that one made up before a stop is not sent after it. It is
	// taken before mu, and held while a message waits for the network.
	sending sync.Mutex

	mu      sync.Mutex // guards what follows
	orders  bridge.Orders
	changed chan struct{}
	joined  time.Time
	// tick is the last one of throng's locustfile and ticked when it came; zero
	// when none has since the worker joined.
	tick   tick
	ticked time.Time
	silent bool // for the dead man's switch: ticks stay away

	pending []opstats.Delta
	unsent  time.Time      // since when the oldest of them waits
	byClass map[string]int // users that the worker runs for the orders
	hurry   func()
}

// New returns a bridge that has not joined yet.
func New(cfg Config) *Bridge {
	if cfg.DeadMan == 0 {
		cfg.DeadMan = DefaultDeadMan
	}
	b := &Bridge{cfg: cfg, log: cfg.Log.Named("locust"), changed: make(chan struct{})}
	b.orders.Changed = b.changed
	return b
}

// Orders returns what the Locust master wants now.
func (b *Bridge) Orders() bridge.Orders {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orders
}

// Report adds results to what is sent next. It does not block.
func (b *Bridge) Report(operations []opstats.Delta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(operations) > 0 && len(b.pending) == 0 {
		b.unsent = time.Now()
	}
	for _, op := range operations {
		b.pending = add(b.pending, op)
	}
}

// Running says how many users of each class the worker runs, or would if it had
// an account for each.
func (b *Bridge) Running(byClass map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byClass = byClass
}

// Hurry sets what is called before a stop is acknowledged, to report what has
// been counted until then: a Locust master that quits does not wait.
func (b *Bridge) Hurry(report func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurry = report
}

// Run joins the Locust master, again whenever it has gone, until ctx ends. Then
// it sends what is left and leaves.
func (b *Bridge) Run(ctx context.Context) error {
	restore, err := zap.RedirectStdLogAt(b.log.Named("boomer"), zap.DebugLevel)
	if err != nil {
		return err
	}
	defer restore()
	b.log.Info("joining the Locust master", zap.String("address", b.cfg.Address))
	retry := time.NewTicker(joinEvery)
	defer retry.Stop()
	said := false // that it is not there
	for ctx.Err() == nil {
		joined, err := b.join(ctx)
		if joined {
			said = false
		}
		if ctx.Err() == nil && !said {
			said = true
			if joined {
				b.log.Warn("the Locust master is gone: users stop; joining again as soon as it is there", zap.Error(err))
			} else {
				b.log.Warn("no Locust master yet; trying on", zap.Error(err))
			}
		}
		if errors.Is(err, errQuit) {
			retry.Reset(quitPause)
		} else {
			retry.Reset(joinEvery)
		}
		select {
		case <-ctx.Done():
		case <-retry.C:
		}
	}
	return nil
}

var (
	errHungUp = errors.New("it has closed the connection")
	errQuit   = errors.New("it has told its workers to quit")
	errNoAck  = errors.New("it does not acknowledge the worker: is it Locust 2.12 or newer, and is this its port for workers?")
	errBoomer = errors.New("it has not been heard of")
)

// join takes part until the master has gone or ctx ends. It says whether the
// master had acknowledged the worker, and why it is over.
func (b *Bridge) join(ctx context.Context) (joined bool, err error) {
	conn, err := dial(ctx, b.cfg.Address)
	if err != nil {
		return false, err
	}
	l, err := b.newLink(conn)
	if err != nil {
		return false, err
	}
	defer l.shutdown()
	limit := time.NewTimer(ackTimeout)
	defer limit.Stop()
	select {
	case <-l.acked:
	case <-l.relay.over:
		return false, errHungUp
	case <-limit.C:
		return false, errNoAck
	case <-ctx.Done():
		return false, ctx.Err()
	}
	b.enter()
	defer b.leave()
	b.log.Info("joined the Locust master", zap.String("address", b.cfg.Address))
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			b.look()
			b.flush(l)
			continue
		case <-ctx.Done():
			b.flush(l)
			return true, ctx.Err()
		case <-l.quit:
			return true, errQuit
		case <-l.relay.over:
		}
		if l.relay.left {
			return true, errBoomer
		}
		return true, errHungUp
	}
}

// change changes the orders and wakes who waits for that.
func (b *Bridge) change(f func(*bridge.Orders)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changeLocked(f)
}

func (b *Bridge) changeLocked(f func(*bridge.Orders)) {
	f(&b.orders)
	close(b.changed)
	b.changed = make(chan struct{})
	b.orders.Changed = b.changed
}

func (b *Bridge) enter() {
	b.change(func(o *bridge.Orders) {
		*o = bridge.Orders{Joined: true, Stops: o.Stops, On: o.On, Users: o.Users} // it may have ordered already
		b.joined = time.Now()
	})
}

// leave forgets the master and what it has wanted. What is not sent is dropped:
// nobody has its statistics any more.
func (b *Bridge) leave() {
	b.change(func(o *bridge.Orders) {
		*o = bridge.Orders{Stops: o.Stops}
		b.pending, b.ticked, b.silent = nil, time.Time{}, false
	})
}

// look watches what nobody tells: ticks that stay away.
func (b *Bridge) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ticked.IsZero():
		if !b.orders.Weights && time.Since(b.joined) > tickAfter {
			b.changeLocked(func(o *bridge.Orders) { o.Weights = true })
		}
	case !b.silent && time.Since(b.ticked) > b.cfg.DeadMan:
		b.silent = true
		b.log.Warn("the Locust master gives no sign of life: users stop", zap.Duration("for", b.cfg.DeadMan))
		b.changeLocked(func(o *bridge.Orders) { o.Joined = false })
	}
}

// onSpawn is told how many users the worker is to have.
func (b *Bridge) onSpawn(count int, _ float64) {
	b.sending.Lock() // what is sent from here on tells of these users
	defer b.sending.Unlock()
	b.change(func(o *bridge.Orders) {
		if !o.On {
			// Of the test before; the next tick is of this one.
			o.Test, b.tick, b.pending = "", tick{}, nil
		}
		o.On, o.Users = true, count
		o.Classes = b.tick.classes(o.Users)
	})
}

// onStop is told that the test is over, before that is acknowledged. It is also
// called when the master quits.
func (b *Bridge) onStop(l *link) {
	b.mu.Lock()
	hurry := b.hurry
	b.mu.Unlock()
	if hurry != nil {
		hurry()
	}
	b.change(func(o *bridge.Orders) {
		if o.On {
			o.Stops++
		}
		o.On, o.Users, o.Classes = false, 0, nil
	})
	b.flush(l)
}

// onTick takes a message of throng's locustfile.
func (b *Bridge) onTick(data any) {
	t, err := parseTick(data)
	if err != nil {
		b.log.Warn("a message of the locustfile cannot be read", zap.Error(err))
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick, b.ticked = t, time.Now()
	classes := t.classes(b.orders.Users)
	if b.silent || b.orders.Weights || b.orders.Test != t.Test || !equal(classes, b.orders.Classes) {
		if b.silent {
			b.log.Info("the Locust master is back")
		}
		b.silent = false
		b.changeLocked(func(o *bridge.Orders) {
			o.Joined, o.Weights, o.Test, o.Classes = true, false, t.Test, classes
		})
	}
}

// flush sends what there is to send.
func (b *Bridge) flush(l *link) {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	users, ok := b.users()
	pending := b.pending
	if ok {
		b.pending = nil
	}
	b.mu.Unlock()
	if ok && len(pending) > 0 {
		l.boomer.SendCustomMessage("stats", statistics(pending, users, time.Now()))
	}
}

// users returns how many users of each class the orders want, which every report
// has to say, and false if that is not known yet.
func (b *Bridge) users() (map[string]int, bool) {
	switch {
	case !b.orders.On || b.orders.Users == 0:
		return map[string]int{}, true
	case sum(b.byClass) == b.orders.Users:
		return b.byClass, true
	case time.Since(b.unsent) < classesAfter:
		return nil, false
	case b.orders.Classes != nil:
		return b.orders.Classes, true
	}
	return map[string]int{"User": b.orders.Users}, true
}
