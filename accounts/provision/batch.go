package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/throng-load/throng/accounts"
)

// call is a method of a Source.
type call func(context.Context, accounts.Account) error

// batch is what came of calling a Source for some accounts. Accounts in none
// of the lists were not asked for, or it is not known what came of it.
type batch struct {
	done           []accounts.Account
	refused, taken []accounts.Account
	// err is the failure that stopped the batch, worded for people.
	err error
}

type outcome struct {
	account accounts.Account
	err     error // nil: done
}

// batch calls the source for every account of the list, and each after every
// success. The first account that finally fails stops it, and so does the end
// of ctx; calls under way then may finish within stopGrace. It returns when no
// call is under way any more.
func (r *run) batch(ctx context.Context, verb string, list []accounts.Account, do call, each func(accounts.Account)) batch {
	return r.perform(ctx, verb, list, do, each, func(error) bool { return true })
}

// tolerantBatch is batch, except that an account that is refused, or whose
// username is taken, does not stop it.
func (r *run) tolerantBatch(ctx context.Context, verb string, list []accounts.Account, do call) batch {
	return r.perform(ctx, verb, list, do, func(accounts.Account) {}, func(err error) bool {
		return !errors.Is(err, ErrRefused) && !errors.Is(err, ErrTaken)
	})
}

func (r *run) perform(
	ctx context.Context, verb string, list []accounts.Account, do call,
	each func(accounts.Account), stops func(error) bool,
) (b batch) {
	// Deferred first, so that it comes last: whatever happens here, even in
	// somebody's Progress, nothing goes on behind the caller's back.
	var crew sync.WaitGroup
	defer crew.Wait()
	running, stop := context.WithCancel(ctx)
	defer stop()
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	work := make(chan accounts.Account, len(list))
	for _, a := range list {
		work <- a
	}
	close(work)
	outcomes := make(chan outcome, len(list))

	// The size of the crew is the limit of calls under way, and an account
	// that waits to be repeated keeps its place: no more than the crew can
	// fail before the first pause is over.
	for range min(r.concurrency, len(list)) {
		crew.Go(func() {
			for a := range work {
				err := r.ask(running, calls, a, do)
				if err != nil && !errors.Is(err, errStopping) && stops(err) {
					stop() // here, so that nobody starts another call meanwhile
				}
				outcomes <- outcome{a, err}
			}
		})
	}

	stopping := running.Done()
	grace := time.NewTimer(stopGrace)
	grace.Stop()
	defer grace.Stop()
	for left := len(list); left > 0; {
		select {
		case <-stopping:
			stopping = nil
			grace.Reset(stopGrace)
		case <-grace.C:
			cut()
		case o := <-outcomes:
			left--
			if b.add(o); o.err == nil {
				each(o.account)
			} else if b.err == nil && !errors.Is(o.err, errStopping) && stops(o.err) {
				b.err = r.describe(verb, o.account, o.err)
			}
		}
	}
	r.tell()
	if b.err == nil && len(b.done) < len(list) && ctx.Err() != nil {
		b.err = fmt.Errorf("%s accounts: %w", verb, context.Cause(ctx))
	}
	return b
}

// add files an outcome.
func (b *batch) add(o outcome) {
	switch {
	case o.err == nil:
		b.done = append(b.done, o.account)
	case errors.Is(o.err, ErrTaken):
		b.taken = append(b.taken, o.account)
	case errors.Is(o.err, ErrRefused):
		b.refused = append(b.refused, o.account)
	}
}

// ask calls the source until it succeeds or fails finally. It starts no call
// after ctx has ended; a call under way lives as long as calls.
func (r *run) ask(ctx, calls context.Context, a accounts.Account, do call) error {
	// The executor answers with the end of ctx whatever the last call came
	// to, so the outcome of that is kept here.
	var asked bool
	var last error
	err := r.executor.WithContext(ctx).Run(func() error {
		if ctx.Err() != nil {
			return errStopping
		}
		attempt, cancel := context.WithTimeout(calls, callTimeout)
		defer cancel()
		asked, last = true, do(attempt, a)
		if last != nil && !final(last) {
			r.failed(last)
		}
		return last
	})
	switch {
	case asked && (last == nil || final(last)):
		return last
	case ctx.Err() != nil:
		return errStopping
	default:
		return err
	}
}
