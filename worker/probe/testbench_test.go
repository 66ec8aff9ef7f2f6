package probe

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
)

const (
	testRun       = "run-1"
	testPublisher = "quiet/member-1"
	testChannel   = "throng/probe/run-1/member-1"
)

// bench is one route on a fake target.
type bench struct {
	*route
	target *fakeTarget

	mu       sync.Mutex
	joins    int
	over     []chan struct{} // of the leases, in the order of joining
	refusing bool            // no join succeeds
	dry      bool            // no join finds an account
	recorded []error
}

// newBench returns a route that sends so many messages a second. Change may
// change its configuration.
func newBench(rate float64, change func(*routeConfig)) *bench {
	b := &bench{target: new(fakeTarget)}
	c := routeConfig{
		name: "quiet", channel: testChannel, own: true, run: testRun, publisher: testPublisher,
		rate: rate, limits: testLimits(),
		swarmTime: func(local time.Time) time.Time { return local.Add(time.Hour) },
		record: func(_ time.Duration, _ int, err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.recorded = append(b.recorded, err)
		},
		join: b.join, muted: func() bool { return false },
		log: zap.NewNop(),
	}
	if change != nil {
		change(&c)
	}
	b.route = newRoute(c)
	return b
}

func (b *bench) join(_, hard context.Context) (link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.joins++
	if b.dry {
		return link{}, fmt.Errorf("lease account: %w", accounts.ErrNoAccount)
	}
	if b.refusing {
		return link{}, errBusy
	}
	conn, err := b.target.Connect(hard, accounts.Leased{}, nil)
	over := make(chan struct{})
	b.over = append(b.over, over)
	return link{conn: conn, over: over, leave: func() { conn.Close() }}, err
}

// life is a running bench.
type life struct {
	*bench
	soft, hard context.Context
	stop       context.CancelFunc // sending
	abort      context.CancelFunc
	disconnect context.CancelFunc
	sender     sync.WaitGroup
	ends       sync.WaitGroup
	reported   coord.Route // the sum of what was taken
}

// begin connects the route and begins to send.
func (b *bench) begin() *life {
	l := &life{bench: b}
	l.hard, l.abort = context.WithCancel(context.Background())
	connected, disconnect := context.WithCancel(l.hard)
	l.disconnect = disconnect
	for _, end := range b.lines() {
		l.ends.Go(func() { end.run(connected, l.hard) })
		<-end.up
	}
	l.soft, l.stop = context.WithCancel(l.hard)
	l.sender.Go(func() {
		b.send(l.soft, l.hard, newSchedule(b.since(time.Now()), b.rate, 0, 1))
	})
	return l
}

// goOn lets time pass.
func (l *life) goOn(d time.Duration) {
	<-time.After(d) // the bubble's time
	synctest.Wait()
}

// end stops sending, waits for all that is open and somewhat longer, disconnects
// and returns the sum of all reports.
func (l *life) end() coord.Route {
	l.stop()
	l.sender.Wait()
	for !l.settled() {
		l.report()
		l.goOn(time.Second)
	}
	l.goOn(20 * time.Second)
	l.disconnect()
	l.ends.Wait()
	l.abort()
	l.report()
	return l.reported
}

func (l *life) report() {
	delta := sumOf(l.take())
	l.reported.Merge(&delta)
}

func check(t *testing.T, got, want coord.Route) {
	t.Helper()
	if counts(got) != want {
		t.Errorf("got  %+v\nwant %+v", counts(got), want)
	}
}
