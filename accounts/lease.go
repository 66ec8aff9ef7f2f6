package accounts

import (
	"context"
	"sync"
	"sync/atomic"
)

// Outcome says what came of using an account.
type Outcome string

// OK is the outcome of an account that can be used again.
const OK Outcome = ""

// maxReason is how much of a reason is kept, in bytes.
const maxReason = 256

// Refused is the outcome of an account that the target does not accept: it is
// quarantined with the reason, for ever. The reason must not quote credentials.
func Refused(reason string) Outcome {
	switch {
	case reason == "":
		return "refused"
	case len(reason) > maxReason:
		return Outcome(reason[:maxReason])
	default:
		return Outcome(reason)
	}
}

// Lease is the exclusive use of an account. It is safe for concurrent use. It
// lasts until it is released, or until its holder may no longer trust it; it is
// then over for good, also when the holder comes back.
type Lease struct {
	Leased

	fence *fence
	// ended is why the lease is over; nil while it is not.
	ended atomic.Pointer[error]

	// mu guards bound. ended is set before mu is taken to end what is bound,
	// so that whoever binds under mu either sees ended or is ended.
	mu    sync.Mutex
	bound map[*binding]struct{}
}

type binding struct{ cancel context.CancelCauseFunc }

// Check says whether a request may leave under the lease: nil, or ErrSuspended,
// ErrLost or ErrReleased. It is meant to be called immediately before each
// write to the network, costs a clock reading, and allocates nothing.
func (l *Lease) Check() error {
	// The lease's own end is read last: a process that was paused in between
	// must not combine an old "not ended" with a new term.
	trusted := l.fence.left() > 0
	if ended := l.ended.Load(); ended != nil {
		return *ended
	}
	if !trusted {
		return ErrSuspended
	}
	return nil
}

// Bind returns a context that ends with parent, or when the lease may no longer
// be used, with the cause that Check returns. The cancel function must be called
// when the context is no longer needed.
func (l *Lease) Bind(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Check(); err != nil {
		cancel(err)
		return ctx, func() {}
	}
	b := &binding{cancel: cancel}
	if l.bound == nil {
		l.bound = map[*binding]struct{}{}
	}
	l.bound[b] = struct{}{}
	return ctx, func() {
		l.mu.Lock()
		delete(l.bound, b)
		l.mu.Unlock()
		cancel(context.Canceled)
	}
}

// end ends the lease with a cause. A later cause replaces an earlier one for
// Check; contexts keep the first.
func (l *Lease) end(cause error) {
	l.ended.Store(&cause)
	l.mu.Lock()
	bound := l.bound
	l.bound = nil
	l.mu.Unlock()
	for b := range bound {
		b.cancel(cause)
	}
}
