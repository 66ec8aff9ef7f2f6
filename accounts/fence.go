package accounts

import (
	"sync/atomic"
	"time"
)

// term is a span during which a holder may trust its leases.
type term struct {
	// sent is the moment just before the renewal was sent. It carries both a
	// monotonic and a wall clock reading.
	sent time.Time
	// length is how long the trust lasts from then on.
	length time.Duration
}

// left returns how much of the term is left at now; zero or less when it is
// over. The clock that says that more time has passed is the one believed: the
// monotonic one stands still while the machine is suspended, and the wall
// clock may be set back.
func (t term) left(now time.Time) time.Duration {
	return t.remaining(now.Sub(t.sent), time.Duration(now.UnixNano()-t.sent.UnixNano()))
}

func (t term) remaining(monotonic, wall time.Duration) time.Duration {
	return t.length - max(monotonic, wall)
}

// fence holds a holder's current term. The zero value is a fence without trust.
// It is safe for concurrent use.
type fence struct{ term atomic.Pointer[term] }

// left returns how much trust is left; zero or less when there is none.
func (f *fence) left() time.Duration {
	t := f.term.Load()
	if t == nil {
		return 0
	}
	return t.left(time.Now())
}

func (f *fence) renew(sent time.Time, length time.Duration) {
	f.term.Store(&term{sent: sent, length: length})
}
