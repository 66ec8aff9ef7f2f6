package accounts

import (
	"errors"
	"fmt"
	"time"
)

// Settings are a pool's own: everybody who opens it uses what it was made with.
// They are kept in whole milliseconds.
type Settings struct {
	// LeaseTTL is how long a holder lives without renewing; 30 s when zero.
	// At least 500 ms.
	LeaseTTL time.Duration
	// LockDelay is how long accounts of an expired holder stay locked on top,
	// for requests that are still on their way; 5 s when zero. It should be
	// no less than the timeout of a request to the target.
	LockDelay time.Duration
	// Rest is how long an account rests after each use; none when zero.
	Rest time.Duration
	// MaxUses is how often an account is used before it retires; without
	// limit when zero. A use is a lease that its holder used, whatever came
	// of it.
	MaxUses int
	// MaxAge is how long after it became known an account is leased for the
	// last time; then it retires. Without limit when zero.
	MaxAge time.Duration
	// ReplicaLag is by how much a replica that may be promoted can be behind;
	// nothing when zero. After Redis has restarted or failed over, nothing is
	// leased for LeaseTTL + LockDelay + ReplicaLag.
	ReplicaLag time.Duration
}

// Bounds of the settings. Below the shortest TTL a renewal's own timeout would
// leave no time to try again.
const (
	shortestTTL = 500 * time.Millisecond
	longest     = 24 * time.Hour
	oldest      = 10 * 365 * 24 * time.Hour
	mostUses    = 1_000_000_000
)

func (s Settings) withDefaults() Settings {
	if s.LeaseTTL == 0 {
		s.LeaseTTL = 30 * time.Second
	}
	if s.LockDelay == 0 {
		s.LockDelay = 5 * time.Second
	}
	return s
}

// validate reports every problem at once.
func (s Settings) validate() error {
	var problems []error
	within := func(name string, d, least time.Duration) {
		switch {
		case d < least || d > longest:
			problems = append(problems, fmt.Errorf("%s %v: use %v to %v", name, d, least, longest))
		case d%time.Millisecond != 0:
			problems = append(problems, fmt.Errorf("%s %v: use whole milliseconds", name, d))
		}
	}
	within("lease TTL", s.LeaseTTL, shortestTTL)
	within("lock-delay", s.LockDelay, 0)
	within("rest", s.Rest, 0)
	within("replica lag", s.ReplicaLag, 0)
	if s.MaxAge < 0 || s.MaxAge > oldest || s.MaxAge%time.Millisecond != 0 {
		problems = append(problems, fmt.Errorf("max age %v: use whole milliseconds up to %v, or 0 for no limit", s.MaxAge, oldest))
	}
	if s.MaxUses < 0 || s.MaxUses > mostUses {
		problems = append(problems, fmt.Errorf("max uses %d: use 1 to %d, or 0 for no limit", s.MaxUses, mostUses))
	}
	return errors.Join(problems...)
}

// String names all settings.
func (s Settings) String() string {
	text := fmt.Sprintf("lease TTL %v, lock-delay %v, rest %v", s.LeaseTTL, s.LockDelay, s.Rest)
	if s.MaxUses > 0 {
		text += fmt.Sprintf(", max uses %d", s.MaxUses)
	}
	if s.MaxAge > 0 {
		text += fmt.Sprintf(", max age %v", s.MaxAge)
	}
	if s.ReplicaLag > 0 {
		text += fmt.Sprintf(", replica lag %v", s.ReplicaLag)
	}
	return text
}

// trust is how long a holder may trust its leases after it sent a renewal that
// succeeded: T(1 - rho) - m, see the package comment.
func (s Settings) trust() time.Duration {
	return s.LeaseTTL - s.LeaseTTL/100 - s.LeaseTTL/10
}

// renewal is the time between renewals: several fit before the deadline.
func (s Settings) renewal() time.Duration { return s.LeaseTTL / 6 }

// callTimeout is how long one call to Redis may take before it is sent again.
// The upper bound keeps a holder's end short even when Redis hangs.
func (s Settings) callTimeout() time.Duration {
	return min(max(s.LeaseTTL/10, 250*time.Millisecond), time.Second)
}

// pass is the time between a reclaimer's passes.
func (s Settings) pass() time.Duration { return min(s.LeaseTTL/10, 500*time.Millisecond) }
