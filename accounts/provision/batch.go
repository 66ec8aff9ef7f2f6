package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/throng-load/throng/accounts"
)

// errand is what a source is asked for.
type errand struct {
	verb string // for errors: "create"
	do   call
	// creates tells that failures count as failed creations.
	creates bool
	// tolerates says of a final failure that the others are asked for all the
	// same; nil tolerates none.
	tolerates func(error) bool
	// each is told of every success, by the goroutine that runs the batch; it
	// may be nil.
	each func(accounts.Account)
}

func (e errand) stops(err error) bool {
	return err != nil && !errors.Is(err, errStopping) && (e.tolerates == nil || !e.tolerates(err))
}

// batch is what came of an errand for some accounts. Accounts in none of the
// lists were not asked for, or it is not known what came of it.
type batch struct {
	// done has what the source knows each account as.
	done []accounts.Account
	// failed has those that failed finally.
	failed []failure
	// err is the failure that stopped the batch, worded for people.
	err error
}

// failure is an account and why the target would not; nil: it would.
type failure struct {
	account accounts.Account
	err     error
}

// with returns the accounts that failed with the sentinel.
func (b batch) with(sentinel error) []accounts.Account {
	var list []accounts.Account
	for _, f := range b.failed {
		if errors.Is(f.err, sentinel) {
			list = append(list, f.account)
		}
	}
	return list
}

// batch asks the source for every account of the list. The first failure that
// the errand does not tolerate stops it, and so does the end of ctx; calls under
// way then may finish within stopGrace. It returns when no call is under way any
// more.
func (r *run) batch(ctx context.Context, e errand, list []accounts.Account) (b batch) {
	// Deferred first, so that it comes last: whatever happens here, even in
	// somebody's Progress, nothing goes on behind the caller's back.
	var crew sync.WaitGroup
	defer crew.Wait()
	running, stop := context.WithCancel(ctx)
	defer stop()
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	portions := slices.Collect(slices.Chunk(list, r.portion))
	work := make(chan []accounts.Account, len(portions))
	for _, portion := range portions {
		work <- portion
	}
	close(work)
	settled := make(chan []failure, len(portions))

	// The size of the crew is the limit of calls under way, and an account
	// that waits to be repeated keeps its place: no more than the crew can
	// fail before the first pause is over.
	for range min(r.cfg.Concurrency, len(portions)) {
		crew.Go(func() {
			for portion := range work {
				all := r.ask(running, calls, e, portion)
				if slices.ContainsFunc(all, func(f failure) bool { return e.stops(f.err) }) {
					stop() // here, so that nobody starts another call meanwhile
				}
				settled <- all
			}
		})
	}

	stopping := running.Done()
	grace := time.NewTimer(stopGrace)
	grace.Stop()
	defer grace.Stop()
	for left := len(portions); left > 0; {
		select {
		case <-stopping:
			stopping = nil
			grace.Reset(stopGrace)
		case <-grace.C:
			cut()
		case all := <-settled:
			left--
			for _, f := range all {
				b.add(r, e, f)
			}
		}
	}
	r.tell()
	if b.err == nil && len(b.done)+len(b.failed) < len(list) && ctx.Err() != nil {
		b.err = fmt.Errorf("%s accounts: %w", e.verb, context.Cause(ctx))
	}
	return b
}

// add files what came of one account.
func (b *batch) add(r *run, e errand, f failure) {
	switch {
	case f.err == nil:
		b.done = append(b.done, f.account)
		if e.each != nil {
			e.each(f.account)
		}
	case final(f.err):
		b.failed = append(b.failed, f)
	}
	if b.err == nil && e.stops(f.err) {
		b.err = r.describe(e.verb, f.account, f.err)
	}
}

// ask asks the source for a portion until each of its accounts has succeeded or
// failed finally, and says what came of each. It starts no call after ctx has
// ended; a call under way lives as long as calls.
func (r *run) ask(ctx, calls context.Context, e errand, portion []accounts.Account) []failure {
	// The policies answer with the end of ctx whatever the last call came to,
	// so what is settled is kept here.
	var settled []failure
	left := portion
	var last error
	rest := func(err error) []failure {
		for _, a := range left {
			settled = append(settled, failure{a, err})
		}
		return settled
	}
	for {
		err := r.retries.WithContext(ctx).Run(func() error {
			leave, ok := r.outage.enter()
			if !ok {
				return circuitbreaker.ErrOpen
			}
			defer leave()
			if err := r.permits.take(ctx, len(left)); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return errStopping // which is nobody's failure
			}
			return r.outage.guarded.Run(func() error {
				done, again, err := r.attempt(calls, e, left)
				settled, left = append(settled, done...), again
				if err != nil {
					last = err
				}
				if err != nil && calls.Err() != nil && r.outage.breaker.IsClosed() {
					return errStopping // it was cut off
				}
				if err != nil && len(done) > 0 {
					return fmt.Errorf("%w: %w", errPartly, err)
				}
				return err
			})
		})
		switch {
		case len(left) == 0:
			return settled
		case ctx.Err() != nil:
			return rest(errStopping)
		case errors.Is(err, errPermit):
			return rest(err)
		case r.outage.breaker.IsClosed() && !errors.Is(err, circuitbreaker.ErrOpen):
			if last == nil {
				last = err
			}
			return rest(last)
		}
		if err := r.outage.await(ctx); err != nil {
			return rest(err)
		}
	}
}

// attempt makes one call. It returns what is settled by it, and the accounts that
// have failed in a way that may pass, with the last such failure.
func (r *run) attempt(ctx context.Context, e errand, list []accounts.Account) (settled []failure, again []accounts.Account, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	outcomes, whole := e.do.checked(ctx, list)
	for i, a := range list {
		failed := whole
		if whole == nil {
			failed = outcomes[i].Err
		}
		switch {
		case failed == nil:
			if id := outcomes[i].TargetID; id != "" {
				a.TargetID = id
			}
			settled = append(settled, failure{account: a})
		case final(failed):
			settled = append(settled, failure{a, failed})
		default:
			again, err = append(again, a), failed
		}
		if failed != nil && e.creates {
			r.count(list[i : i+1])
		}
	}
	if err != nil {
		r.outage.failed(err)
	}
	return settled, again, err
}
