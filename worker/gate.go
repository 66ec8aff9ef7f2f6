package worker

import (
	"context"
	"sync/atomic"
)

// gate holds up whoever wants to pass while it is shut. The zero value is open.
// Set belongs to one goroutine; wait is safe for concurrent use.
type gate struct {
	// shut is closed when the gate opens; nil while it is open.
	shut atomic.Pointer[chan struct{}]
}

// set opens or shuts the gate, and says whether that changed anything.
func (g *gate) set(open bool) bool {
	shut := g.shut.Load()
	switch {
	case open && shut != nil:
		g.shut.Store(nil)
		close(*shut)
	case !open && shut == nil:
		ch := make(chan struct{})
		g.shut.Store(&ch)
	default:
		return false
	}
	return true
}

// wait returns when the gate is open, or with the cause when ctx has ended.
func (g *gate) wait(ctx context.Context) error {
	for shut := g.shut.Load(); shut != nil; shut = g.shut.Load() {
		select {
		case <-*shut:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
