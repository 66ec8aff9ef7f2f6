package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/throng-load/throng/accounts"
)

// finishIntents turns every intended account into a known one or none: the
// rest of DeleteAll deletes the known. Intents of which it cannot be found out
// whether the target has them stay; doubt returns an error if there are any.
func (d *deletion) finishIntents(ctx context.Context) (doubt func() error, err error) {
	doubtful := map[string]error{}
	for {
		intents, err := d.p.pool.Intents(ctx, d.run.batchSize+len(doubtful))
		if err != nil {
			return nil, err
		}
		intents = slices.DeleteFunc(intents, func(a accounts.Account) bool { return doubtful[a.Username] != nil })
		if len(intents) == 0 {
			return func() error { return inDoubt(doubtful) }, nil
		}
		b := d.run.batch(ctx, errand{verb: "create", do: creating(d.p.source), creates: true, tolerates: final}, intents)
		err = d.p.settle(ctx, d.run, b)
		d.run.total += len(b.done)
		if err = joined(b.err, err); err != nil {
			return nil, err
		}
		if err := d.giveUp(ctx, slices.Concat(b.with(ErrRefused), b.with(ErrMissing)), doubtful); err != nil {
			return nil, err
		}
	}
}

// errUnproven says that an account of the username is there, and no more.
var errUnproven = fmt.Errorf("%w: the target has the username, and without a login request nobody can tell whose account that is", ErrRefused)

// giveUp drops accounts that the target would not create. It may have created
// them all the same when it was asked before and no answer came back: then it
// accepts their passwords, which nobody else can know, and that is receipt
// enough to delete them. One that it has and does not accept is somebody else's,
// or cannot be told from that.
func (d *deletion) giveUp(ctx context.Context, refused []accounts.Account, doubtful map[string]error) error {
	if len(refused) == 0 {
		return nil
	}
	b := d.run.batch(ctx, errand{verb: "verify", do: verifying(d.p.source), tolerates: final}, refused)
	if b.err != nil {
		return b.err
	}
	for _, f := range b.failed {
		if !errors.Is(f.err, ErrMissing) {
			doubtful[f.account.Username] = f.err
		}
	}
	gone := b.with(ErrMissing)
	if limited, ok := d.p.source.(Limited); ok && !limited.Proves() {
		for _, a := range b.done {
			doubtful[a.Username] = errUnproven
		}
		b.done = nil
	}
	b = d.run.batch(ctx, errand{verb: "delete", do: deleting(d.p.source)}, b.done)
	gone = append(gone, b.done...)
	if len(gone) == 0 {
		return b.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return joined(b.err, d.p.pool.Drop(ctx, usernames(gone)))
}

// inDoubt words what could not be found out; nil if there is nothing.
func inDoubt(doubtful map[string]error) error {
	for name, err := range doubtful {
		return fmt.Errorf("%d intended accounts can neither be created nor be told from somebody else's, %q among them, and are left: %w",
			len(doubtful), name, err)
	}
	return nil
}
