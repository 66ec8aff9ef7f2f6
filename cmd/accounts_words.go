package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/throng-load/throng/accounts"
)

// wordedError is an error with other words.
type wordedError struct {
	text string
	err  error
}

func (e *wordedError) Error() string { return e.text }

func (e *wordedError) Unwrap() error { return e.err }

// poolError is the error of work on a pool that did not come about. The layers
// that it came through have each named the operation, and sentinels their
// package: once is enough for people.
func poolError(pool string, err error) error {
	parts := strings.Split(err.Error(), ": ")
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "provision" || part == "accounts" })
	return startError("%w", &wordedError{fmt.Sprintf("pool %q: %s", pool, strings.Join(slices.Compact(parts), ": ")), err})
}

// maxClashes is how many usernames an error names.
const maxClashes = 10

// importError is the error of an import, with advice that a user can follow
// where the pool knows accounts otherwise.
func importError(err error) error {
	var known *accounts.KnownError
	if !errors.As(err, &known) {
		return err
	}
	var names []string
	for _, username := range known.Usernames[:min(len(known.Usernames), maxClashes)] {
		names = append(names, fmt.Sprintf("%q", username))
	}
	text := strings.Join(names, ", ")
	if more := len(known.Usernames) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &wordedError{fmt.Sprintf("import accounts: pool %q knows %s with other content, and nothing was imported; leave them out of the file, or import it into another pool", known.Pool, text), err}
}

// turnNotice is for how long another process is waited for in silence.
const turnNotice = time.Second

// announceWait says it when another process creates or deletes the pool's
// accounts, and who: the work that is to begin waits for its turn. Whatever else
// is wrong, the work will say.
func announceWait(ctx context.Context, e env, pool *accounts.Pool) {
	looking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Not by a deadline, which would look like a failure of Redis.
	defer time.AfterFunc(turnNotice, func() { cancel(errors.New("waiting until it is done")) }).Stop()
	err := pool.TakeTurn(looking, accounts.JobProvision, func(context.Context) error { return nil })
	if !errors.Is(err, accounts.ErrTurn) || ctx.Err() != nil {
		return
	}
	_, who, _ := strings.Cut(err.Error(), accounts.ErrTurn.Error()+": ")
	fmt.Fprintf(e.stderr, "throng: another process creates or deletes accounts of pool %q: %s\n", pool.Name(), printable(who))
}

// announceReclaim says it when accounts are held, so that holders that may have
// died are waited for. Whatever is wrong, the work will say.
func announceReclaim(ctx context.Context, w io.Writer, pool *accounts.Pool) {
	holders, err := pool.Holders(ctx)
	if err != nil {
		return
	}
	held := int64(0)
	for _, h := range holders {
		held += h.Accounts
	}
	if held > 0 {
		fmt.Fprintf(w, "throng: %d accounts are held: waiting up to %v for those of holders that have died\n", held, reclaimTime(pool))
	}
}

// reclaimTime is how long the leases of a holder last that has died.
func reclaimTime(pool *accounts.Pool) time.Duration {
	settings := pool.Settings()
	return settings.LeaseTTL + settings.LockDelay + time.Second
}
