package coord

import (
	"sync"
	"sync/atomic"
	"time"
)

// samples is how many heartbeats the clock looks back on. The one with the
// shortest round trip bounds the error best.
const samples = 16

// Clock estimates Redis's time from heartbeats: the server's answer lies
// between sending and receiving, so half the round trip bounds the error
// (Cristian, "Probabilistic clock synchronization", 1989). It runs on the
// monotonic clock of the process. It is safe for concurrent use.
type Clock struct {
	base time.Time // what the monotonic clock counts from

	// offset is Redis's time minus (base's wall time + monotonic time since
	// base); offset and bound are nanoseconds. Every message reads the offset.
	offset, bound atomic.Int64

	mu     sync.Mutex // guards what follows
	ring   [samples]sample
	next   int
	synced bool
}

type sample struct{ offset, bound time.Duration }

// NewClock returns a clock that follows the wall clock until the first sample.
func NewClock() *Clock { return &Clock{base: time.Now()} }

// Observe takes one sample: Redis answered server to a request that was sent
// and received at these instants of this process.
func (c *Clock) Observe(sent, received, server time.Time) {
	half := received.Sub(sent) / 2
	middle := c.base.Round(0).Add(sent.Sub(c.base) + half)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sample{offset: server.Sub(middle), bound: half}
	if !c.synced {
		for i := range c.ring {
			c.ring[i] = s
		}
		c.synced = true
	}
	c.ring[c.next] = s
	c.next = (c.next + 1) % samples
	best := c.ring[0]
	for _, s := range c.ring[1:] {
		if s.bound < best.bound {
			best = s
		}
	}
	c.offset.Store(int64(best.offset))
	c.bound.Store(int64(best.bound))
}

// Now is the estimate of Redis's time now.
func (c *Clock) Now() time.Time { return c.At(time.Now()) }

// At is the estimate of Redis's time at an instant of this process, which must
// carry a monotonic reading.
func (c *Clock) At(local time.Time) time.Time {
	return c.base.Round(0).Add(local.Sub(c.base) + time.Duration(c.offset.Load()))
}

// Bound is how far the estimate may be off; 0 before the first sample.
func (c *Clock) Bound() time.Duration { return time.Duration(c.bound.Load()) }
