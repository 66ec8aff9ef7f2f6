package locust

import (
	"net"
	"sync"
	"time"

	"github.com/asaskevich/EventBus"
	"github.com/myzhan/boomer"
	"go.uber.org/zap"
)

const (
	// message is the type of the messages of throng's locustfile.
	message = "throng"
	// linger is how long a task of boomer's waits before it looks whether it is
	// still wanted.
	linger = 2 * time.Second
	// farewell is how long what boomer has sent may be on its way when it ends.
	farewell = 500 * time.Millisecond
	// quitTimeout is how long the Locust master is told that the worker leaves.
	quitTimeout = 2 * time.Second
)

// link is one boomer, which joins a Locust master once.
type link struct {
	relay  *relay
	boomer *boomer.Boomer
	ran    chan struct{} // closed when boomer has connected or given up
	acked  chan struct{} // closed when the master has acknowledged the worker
	quit   chan struct{} // closed when the master has told the worker to quit
	over   chan struct{} // closed when nobody needs the tasks any more
}

// newLink starts a boomer that talks to the Locust master over conn.
func (b *Bridge) newLink(conn net.Conn) (*link, error) {
	relay, port, err := newRelay(conn)
	if err != nil {
		return nil, err
	}
	logger, err := zap.NewStdLogAt(b.log.Named("boomer"), zap.DebugLevel)
	if err != nil {
		relay.close()
		return nil, err
	}
	l := &link{
		relay: relay, boomer: boomer.NewBoomer("127.0.0.1", port).WithLogger(logger),
		ran: make(chan struct{}), acked: make(chan struct{}), quit: make(chan struct{}), over: make(chan struct{}),
	}
	bus := EventBus.New()
	var acked, quit sync.Once
	for event, handler := range map[string]any{
		boomer.EVENT_CONNECTED: func() { acked.Do(func() { close(l.acked) }) },
		boomer.EVENT_SPAWN:     b.onSpawn,
		boomer.EVENT_STOP:      func() { b.onStop(l) },
		boomer.EVENT_QUIT:      func() { quit.Do(func() { close(l.quit) }) },
		message:                func(m *boomer.CustomMessage) { b.onTick(m.Data) },
	} {
		if err := bus.Subscribe(event, handler); err != nil {
			relay.close()
			return nil, err
		}
	}
	boomer.Events = bus
	go func() {
		defer close(l.ran)
		l.boomer.Run(&boomer.Task{Name: "wait", Weight: 1, Fn: l.wait})
	}()
	return l, nil
}

// wait is all that boomer's users do.
func (l *link) wait() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-l.over:
	case <-timer.C:
	}
}

// shutdown tells the master that the worker leaves, if it is still there, and
// ends boomer.
func (l *link) shutdown() {
	alive := true
	select {
	case <-l.relay.over:
		alive = false
		l.relay.close() // what boomer still wants to send fails at once
	default:
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if alive || !l.relay.left { // otherwise it has shut itself down
			l.end()
		}
	}()
	limit := time.NewTimer(quitTimeout)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
	l.relay.finish(farewell)
	<-done
	close(l.over) // only now, or boomer would run its tasks over and over
}

func (l *link) end() {
	select {
	case <-l.ran:
	case <-time.After(quitTimeout):
		l.relay.close() // it is still waiting for the first word of the master
		<-l.ran
	}
	// It may be shutting itself down at the same moment, and a channel of its
	// own that is closed twice would end the process with all its users.
	defer func() { _ = recover() }()
	l.boomer.Quit()
}
