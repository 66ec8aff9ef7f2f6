// Package pubsub is the seam between a user's behaviour and the protocol of
// the target: the Driver interface, the Dialer that every driver must use, and
// the envelope that travels in every message. One package per protocol lies
// beneath it.
//
// It knows accounts only as the type of a leased account. It does not know
// scenarios, the pool, statistics or Redis.
package pubsub

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/throng-load/throng/accounts"
)

// ErrAccountRefused is wrapped by errors of Connect that are about the account
// itself (wrong password, locked, unknown), not about the target's health.
// Trying again with the same account is useless.
var ErrAccountRefused = errors.New("pubsub: account refused")

// Driver speaks one publish/subscribe protocol to one target. One driver
// serves all users of a process; it is safe for concurrent use.
type Driver interface {
	// Connect logs the account in and returns the user's connection. It
	// dials only through dialer. The context bounds Connect alone, not the
	// life of the connection. It sends the account's token along where the
	// protocol has a place for it.
	Connect(ctx context.Context, account accounts.Leased, dialer Dialer) (Conn, error)
}

// Dialer opens network connections for one user. It carries the fence of the
// user's lease, the safety allow-list and the byte counts; therefore a driver
// never dials in any other way.
type Dialer interface {
	// DialContext connects like net.Dialer.DialContext. Once the lease has
	// run out, writes on the returned connection fail and it is closed.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Conn is one user's connection to the target, logged in. Its network
// connections are its own: nothing is shared between users. It is safe for
// concurrent use.
type Conn interface {
	// Publish sends one message and returns when the target has
	// acknowledged it, or with the reason why it did not. The payload may be
	// reused after Publish returns. Errors are short and stable, without
	// identifiers, so that equal failures group together.
	Publish(ctx context.Context, channel string, payload []byte) error

	// Subscribe delivers the channel's messages to handler until the
	// subscription or the connection is closed. It returns once the
	// subscription stands: a message published to the channel after
	// Subscribe has returned is delivered. The context bounds Subscribe
	// alone. A broken subscription is taken up again from where it broke,
	// with exponential backoff.
	Subscribe(ctx context.Context, channel string, handler Handler) (Subscription, error)

	// Close ends all subscriptions, waits until no handler runs any more and
	// closes the network connections. Calling it again does nothing. It must
	// not be called from a handler.
	Close() error
}

// Subscription is one channel that a Conn listens to.
type Subscription interface {
	// Close ends the subscription and waits until its handler has returned.
	// It must not be called from the handler itself.
	Close() error
}

// Handler receives what happens on one subscription. The functions are called
// one at a time and must not block: the subscription stands still meanwhile.
type Handler struct {
	// Message is called for each message, in the order of the target. The
	// payload is only valid during the call.
	Message func(payload []byte, received time.Time)
	// Attempt, if set, is called for each request that the subscription makes
	// on its own account (a long poll, a reconnection).
	Attempt func(Attempt)
}

// Attempt is one request of a subscription.
type Attempt struct {
	Took  time.Duration
	Bytes int
	// Err is nil on success. It wraps context.Canceled when the subscription
	// was closed meanwhile.
	Err error
}
