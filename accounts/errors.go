package accounts

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrNoPool says that there is no pool of this name, or not any more: it
	// was destroyed, or Redis has lost its data.
	ErrNoPool = errors.New("accounts: no such pool")
	// ErrSettings says that the pool is there with other settings.
	ErrSettings = errors.New("accounts: the pool has other settings")
	// ErrVersion says that another version of Throng wrote the pool.
	ErrVersion = errors.New("accounts: the pool was written by another version")
	// ErrRedis says that the server or the connection to it cannot hold a pool.
	ErrRedis = errors.New("accounts: Redis does not fit")
	// ErrRoles says that the pool has as many roles as it can have.
	ErrRoles = errors.New("accounts: too many roles")

	// ErrKnown says that the pool knows accounts of these usernames, and not as
	// they are to be imported. See KnownError.
	ErrKnown = errors.New("accounts: known with other content")
	// ErrKey says that the pool's records are encrypted with a key that was not
	// given.
	ErrKey = errors.New("accounts: the pool is encrypted with a key that was not given")

	// ErrFrozen says that nothing is taken from the pool for a while, because
	// Redis was restarted or failed over and may have lost leases.
	ErrFrozen = errors.New("accounts: the pool is frozen after a restart of Redis")

	// ErrNoAccount says that no account was free in time.
	ErrNoAccount = errors.New("accounts: no account free")
	// ErrUnknownRole says that the pool knows no account of the role at all.
	// An error that wraps it wraps ErrNoAccount too.
	ErrUnknownRole = errors.New("accounts: no account of this role")
	// ErrClosed says that the holder has ended.
	ErrClosed = errors.New("accounts: the holder is closed")

	// ErrSuspended says that the holder's local deadline has passed: the
	// lease must not be used any more. The account is still the holder's.
	ErrSuspended = errors.New("accounts: lease suspended: no renewal in time")
	// ErrLost says that the holder was taken for dead: the account may be
	// somebody else's.
	ErrLost = errors.New("accounts: lease lost")
	// ErrReleased says that the lease was released, by Release or by the
	// holder's end.
	ErrReleased = errors.New("accounts: lease released")
)

// errNoInfo says that it cannot be seen whether Redis is still the same process.
var errNoInfo = fmt.Errorf("%w: it refuses INFO, by which a restart is seen; give the Redis user the right to (ACL: +info)", ErrRedis)

// What a script answers instead of doing its work. None of these crosses the
// border of the package.
var (
	errGone    = errors.New("the registration is gone")
	errExpired = errors.New("the registration has expired")
	errStale   = errors.New("the call is older than another")
	errLive    = errors.New("the holder is alive")
	errExists  = errors.New("the id was used before")
	errAgain   = errors.New("the pool has changed meanwhile")
)

// ShortageError says what was short when a lease did not come about in time. It
// wraps ErrNoAccount, the cause of the context's end and, if no account of the
// role is known, ErrUnknownRole.
type ShortageError struct {
	Pool, Role string
	// Waited is how long the caller has waited.
	Waited time.Duration
	// Answered tells whether the pool has said that the role is short. If not
	// (Redis is away, or Holder.Run is not running), the counts are 0.
	Answered bool
	// Frozen tells that nothing was leased because Redis had been restarted or
	// failed over.
	Frozen bool
	// Most are those who held the most accounts of the role, at most five.
	Most []HeldBy
	// The role's accounts when the pool was last asked.
	Known, Available, Leased, Resting, Quarantined, Retired int64

	cause error
}

// Error names the pool, the role and its counts.
func (e *ShortageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lease account: pool %q, role %q: ", e.Pool, e.Role)
	switch {
	case !e.Answered:
		b.WriteString("the pool has not answered")
	case e.Frozen:
		b.WriteString("Redis was restarted or failed over, and nothing is leased for a while")
	case e.Known == 0:
		b.WriteString("no account of this role is known")
	default:
		fmt.Fprintf(&b, "no account free (%d known, %d available, %d leased, %d resting, %d quarantined, %d retired)",
			e.Known, e.Available, e.Leased, e.Resting, e.Quarantined, e.Retired)
		for i, by := range e.Most {
			sep := ", "
			if i == 0 {
				sep = "; held by "
			}
			fmt.Fprintf(&b, "%s%s: %d", sep, by.Name, by.Accounts)
		}
	}
	fmt.Fprintf(&b, " after %v: %v", e.Waited.Round(time.Millisecond), e.cause)
	return b.String()
}

// Unwrap returns everything that the error is.
func (e *ShortageError) Unwrap() []error {
	errs := []error{ErrNoAccount, e.cause}
	if e.Answered && e.Known == 0 && !e.Frozen {
		errs = append(errs, ErrUnknownRole)
	}
	return errs
}
