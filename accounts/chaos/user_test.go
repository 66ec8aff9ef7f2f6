//go:build linux

package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
)

// mostPrepare is the longest that a user prepares a request. In that time its
// process may be stopped, and the lease may run out: only a check at the write
// itself finds out.
const mostPrepare = 50 * time.Millisecond

// user leases an account, makes one to three requests with it and gives it
// back, for as long as its shift lasts.
type user struct {
	order   *order
	history *history
	random  *rand.Rand
	// heeds says that the user stops when its lease's context ends. Others go
	// on until the fence stops them.
	heeds bool
	// good is when the lease was last found good; 0 for never.
	good int64
}

// session uses one account.
func (u *user) session(shift context.Context, h *accounts.Holder, send func(context.Context, *accounts.Lease, uint32) error) error {
	l, err := h.Lease(shift, role)
	if err != nil {
		return err
	}
	account, err := numberOf(l.Username)
	if err != nil {
		return err
	}
	u.history.add(record{Kind: leased, Account: account, Token: l.Token, From: now()})
	u.good = 0
	err = u.act(shift, l, account, send)
	end := u.check(l)
	h.Release(l, accounts.OK)
	u.history.add(record{Kind: ended, Cause: causeOf(end), Account: account, Token: l.Token, From: u.good, To: now()})
	// Not every library hands the fence's own error on.
	if errors.Is(err, dial.ErrFenced) || (err != nil && end != nil) {
		u.history.add(record{Kind: refused, Account: account, Token: l.Token, From: now()})
		err = nil
	}
	return err
}

// act makes the requests. That the shift or the lease ended is no error.
func (u *user) act(shift context.Context, l *accounts.Lease, account uint32, send func(context.Context, *accounts.Lease, uint32) error) error {
	ctx := shift
	if u.heeds {
		bound, unbind := l.Bind(shift)
		defer unbind()
		ctx = bound
	}
	requests := 1 + u.random.IntN(3)
	// Without a least time: after a fault that ended all leases at once, accounts
	// go on changing hands all the time.
	hold := time.Duration(min(u.random.ExpFloat64(), 4) * float64(u.order.Hold))
	for i := range requests {
		// The first request soon: who leases an account that somebody else
		// still uses shall be seen to do so.
		pause := hold / time.Duration(requests)
		if i == 0 {
			pause = min(pause, time.Duration(u.random.Int64N(int64(20*time.Millisecond))))
		}
		if u.hold(ctx, l, pause) != nil {
			return nil
		}
		// The request is prepared; it is too late to stop for anything but the
		// fence.
		if wait(shift, time.Duration(u.random.Int64N(int64(mostPrepare)))) != nil {
			return nil
		}
		if err := send(shift, l, account); err != nil {
			return err
		}
	}
	_ = u.hold(ctx, l, hold/time.Duration(requests))
	return nil
}

// check asks whether the lease is good. The clock is read first, so that the
// lease was good no earlier than what is noted.
func (u *user) check(l *accounts.Lease) error {
	at := now()
	err := l.Check()
	if err == nil {
		u.good = at
	}
	return err
}

// looks is how often in a session a user that has nothing to send asks whether
// its lease is good: it could use the account at any time.
const looks = 8

// hold keeps the account for a time, or until the lease or ctx has ended.
func (u *user) hold(ctx context.Context, l *accounts.Lease, d time.Duration) error {
	for until := now() + int64(d); ; {
		left := until - now()
		if left <= 0 {
			return u.check(l)
		}
		next := time.Duration((0.5 + u.random.Float64()) * float64(u.order.Hold) / looks)
		if err := wait(ctx, min(next, time.Duration(left))); err != nil {
			return err
		}
		if err := u.check(l); err != nil {
			return err
		}
	}
}

func causeOf(end error) byte {
	switch {
	case end == nil:
		return givenBack
	case errors.Is(end, accounts.ErrSuspended):
		return suspended
	case errors.Is(end, accounts.ErrLost):
		return lost
	default:
		return otherwise
	}
}

// role is the only one of the pool.
const role = "user"

func usernameOf(n int) string { return "user" + strconv.Itoa(n) }

// passwordOf is an account's password in the target.
func passwordOf(username string) string { return "of-" + username }

func numberOf(username string) (uint32, error) {
	n, err := strconv.ParseUint(username[min(len(username), len("user")):], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("an account that is not the test's: %w", err)
	}
	return uint32(n), nil
}

// overHTTP makes a request to the built-in target as the product does: with a
// Dialer of the session's own, under the lease. It logs in and reads the account;
// every request carries the token.
func (u *user) overHTTP(allow *dial.Allow) func(context.Context, *accounts.Lease, uint32) error {
	return func(ctx context.Context, l *accounts.Lease, account uint32) error {
		f := &fence{}
		f.lease.Store(l)
		dialer := dial.New(allow, f)
		defer dialer.Close()
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return timed{conn, func(from, to int64) {
				u.history.add(record{Kind: heldUp, Account: account, Token: l.Token, From: from, To: to})
			}}, nil
		}}
		defer transport.CloseIdleConnections()
		client := http.Client{Transport: transport, Timeout: time.Minute}

		// A request that has begun is waited for, whatever becomes of the shift.
		ctx = context.WithoutCancel(ctx)
		body, err := json.Marshal(map[string]string{"username": l.Username, "password": l.Password.Reveal()})
		if err != nil {
			return err
		}
		if err := u.do(ctx, &client, http.MethodPost, "/login", body, l); err != nil {
			return err
		}
		if err := u.do(ctx, &client, http.MethodGet, "/accounts/"+l.Username, nil, l); err != nil {
			return err
		}
		u.history.add(record{Kind: used, Account: account, Token: l.Token, From: f.passed.Load(), To: now()})
		return nil
	}
}

func (u *user) do(ctx context.Context, client *http.Client, method, path string, body []byte, l *accounts.Lease) error {
	r, err := http.NewRequestWithContext(ctx, method, u.order.Target+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Throng-Lease", strconv.FormatInt(l.Token, 10))
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: the target answers %s", method, path, answer.Status)
	}
	return nil
}
