package target

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// Counters is what a Server has done since it was made, as /admin/counters
// shows it.
type Counters struct {
	// Requests counts answers by operation (publish, poll, login,
	// accounts_create, accounts_read, accounts_delete, other) and status.
	// Status 499 is a poll whose subscriber left while it waited. Requests to
	// /admin and /healthz are left out: looking changes nothing.
	Requests map[string]map[string]int64 `json:"requests"`
	// Accepted counts publishes answered 201.
	Accepted int64 `json:"accepted"`
	// Delivered counts events written in answers to polls: once per event,
	// copy and subscriber.
	Delivered int64 `json:"delivered"`
	// Dropped counts accepted events that met the fault loss.
	Dropped int64 `json:"dropped"`
	// Duplicated counts accepted events that met the fault duplicate.
	Duplicated int64 `json:"duplicated"`
	// Reordered counts events delivered out of order; always 0 so far.
	Reordered int64 `json:"reordered"`
	// Refused counts publishes and log-ins that met the fault refuse.
	Refused int64 `json:"refused"`
	// Accounts is how many accounts there are now.
	Accounts int64 `json:"accounts"`
	// StaleTokenRequests counts requests for an account with an older fencing
	// token than one seen before for it.
	StaleTokenRequests int64 `json:"stale_token_requests"`
	// ByRole splits by the role of the publishing account. A role appears
	// with its first account and stays.
	ByRole map[string]RoleCounters `json:"by_role"`
}

// RoleCounters is the part of one role in Counters.
type RoleCounters struct {
	// Published counts well-formed publishes: Accepted and those refused.
	Published int64 `json:"published"`
	// Accepted counts publishes answered 201.
	Accepted int64 `json:"accepted"`
	// Dropped counts accepted events that met the fault loss.
	Dropped int64 `json:"dropped"`
	// Duplicated counts accepted events that met the fault duplicate.
	Duplicated int64 `json:"duplicated"`
	// Refused counts publishes and log-ins that met the fault refuse.
	Refused int64 `json:"refused"`
}

// operation is what a request asks for, as it is counted.
type operation int

const (
	opUncounted operation = iota
	opPublish
	opPoll
	opLogin
	opAccountsCreate
	opAccountsRead
	opAccountsDelete
	opOther // wrong path or method
	operations
)

// String returns the name under Counters.Requests.
func (o operation) String() string {
	return [operations]string{
		"uncounted", "publish", "poll", "login",
		"accounts_create", "accounts_read", "accounts_delete", "other",
	}[o]
}

// tally is where requests count, without a lock on the way. Events and
// answers are counted before anybody can see them.
type tally struct {
	requests   [operations][600]atomic.Int64 // by status
	delivered  atomic.Int64
	accepted   atomic.Int64 // also gives accepted events their numbers
	dropped    atomic.Int64
	duplicated atomic.Int64
	refused    atomic.Int64
	accounts   atomic.Int64
	stale      atomic.Int64

	publishes atomic.Int64 // well-formed so far: numbers them for refuse
	logins    atomic.Int64 // the same for log-ins

	roles sync.Map // role -> *roleTally; grows with the first account of a role
}

// roleTally is shared by all accounts of a role.
type roleTally struct {
	published, accepted, dropped, duplicated, refused atomic.Int64
}

func newTally() *tally { return &tally{} }

// role returns the role's part. Accounts keep it, so that a publish looks
// nothing up.
func (t *tally) role(name string) *roleTally {
	if found, ok := t.roles.Load(name); ok {
		return found.(*roleTally)
	}
	found, _ := t.roles.LoadOrStore(name, &roleTally{})
	return found.(*roleTally)
}

// answered counts one answer.
func (t *tally) answered(o operation, a answer) {
	if o == opUncounted {
		return
	}
	t.requests[o][a.status].Add(1)
	t.delivered.Add(a.events)
}

func (t *tally) counters() Counters {
	c := Counters{
		Requests:           make(map[string]map[string]int64, operations),
		Accepted:           t.accepted.Load(),
		Delivered:          t.delivered.Load(),
		Dropped:            t.dropped.Load(),
		Duplicated:         t.duplicated.Load(),
		Refused:            t.refused.Load(),
		Accounts:           t.accounts.Load(),
		StaleTokenRequests: t.stale.Load(),
		ByRole:             make(map[string]RoleCounters),
	}
	for o := opUncounted + 1; o < operations; o++ {
		byStatus := make(map[string]int64)
		for status := range t.requests[o] {
			if n := t.requests[o][status].Load(); n > 0 {
				byStatus[strconv.Itoa(status)] = n
			}
		}
		c.Requests[o.String()] = byStatus
	}
	t.roles.Range(func(name, part any) bool {
		r := part.(*roleTally)
		c.ByRole[name.(string)] = RoleCounters{
			Published:  r.published.Load(),
			Accepted:   r.accepted.Load(),
			Dropped:    r.dropped.Load(),
			Duplicated: r.duplicated.Load(),
			Refused:    r.refused.Load(),
		}
		return true
	})
	return c
}
