package accounts

import (
	"context"
	"fmt"
	"slices"
)

// Rekey encrypts every record, of accounts and of intents, with the first key
// that the pool was opened with, and returns how many were not yet. The pool can
// be in use meanwhile, if everybody who uses it has that key: give it to all of
// them first, as a key to decrypt with. A key that was in use before can be taken
// away once nobody encrypts with it and Rekey has returned without an error. It
// can be repeated, and must be when it breaks off. The error wraps ErrKey when no
// key was given, or one is missing.
func (p *Pool) Rekey(ctx context.Context) (n int, err error) {
	if p.store.codec.keys == nil {
		return 0, p.wrap("encrypt accounts", fmt.Errorf("%w: set THRONG_ACCOUNTS_KEY", ErrKey))
	}
	if err := p.store.setKey(ctx, true); err != nil {
		return 0, p.wrap("encrypt accounts", err)
	}
	// Intents first: one that is confirmed meanwhile is then encrypted with the
	// first key already, wherever the scan of the accounts is.
	for _, hash := range []string{p.store.keys.intents(), p.store.keys.records()} {
		for {
			done, missed, err := p.rekey(ctx, hash)
			n += done
			if err != nil {
				return n, p.wrap("encrypt accounts", err)
			}
			if missed == 0 {
				break
			}
		}
	}
	return n, nil
}

// rekey encrypts the records of a hash. Missed are those that changed between
// reading and writing.
func (p *Pool) rekey(ctx context.Context, hash string) (done, missed int, err error) {
	codec := p.store.codec
	err = p.store.scanHash(ctx, hash, func(page []pair) error {
		var changes []change
		for _, r := range page {
			if id, ok := sealedWith(r.text); ok && id == codec.keys.first() {
				continue
			}
			a, err := codec.decode("", r.text)
			if err != nil {
				return fmt.Errorf("record of %q: %w", r.key, err)
			}
			changes = append(changes, change{r.key, r.text, codec.encode(a)})
		}
		for batch := range slices.Chunk(changes, moveBatch) {
			n, err := p.store.rewrite(ctx, hash, batch)
			done, missed = done+n, missed+len(batch)-n
			if err != nil {
				return err
			}
		}
		return nil
	})
	return done, missed, err
}
