//go:build linux

package chaos_test

import (
	"context"
	"sync"
)

// gate lets users begin sessions, and ends them all when it is shut.
type gate struct {
	mu     sync.Mutex
	isOpen chan struct{} // closed while the gate is open
	// shift is a span of time: what all sessions that began in it end with. It is
	// nil while the gate is shut.
	shift  context.Context
	end    context.CancelFunc
	inside int
	empty  chan struct{} // of who waits until nobody is inside; nil for nobody
}

func newGate() *gate {
	g := &gate{isOpen: make(chan struct{})}
	g.open()
	return g
}

// enter waits until the gate is open, and returns the shift. Whoever entered must
// leave.
func (g *gate) enter(ctx context.Context) (context.Context, error) {
	for {
		g.mu.Lock()
		isOpen, shift := g.isOpen, g.shift
		if shift != nil && ctx.Err() == nil {
			g.inside++
			g.mu.Unlock()
			return shift, nil
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-isOpen:
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shift == nil {
		g.shift, g.end = context.WithCancel(context.Background())
		close(g.isOpen)
	}
}

// shut ends the shift and waits until nobody is inside.
func (g *gate) shut() {
	g.mu.Lock()
	empty := make(chan struct{})
	if g.shift != nil {
		g.end()
		g.shift, g.isOpen = nil, make(chan struct{})
	}
	if g.inside == 0 {
		close(empty)
	} else {
		g.empty = empty
	}
	g.mu.Unlock()
	<-empty
}

// finish ends the shift for good: ctx has ended, and nobody enters any more.
func (g *gate) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shift != nil {
		g.end()
	}
}
