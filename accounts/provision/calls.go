package provision

import (
	"context"
	"fmt"

	"github.com/throng-load/throng/accounts"
)

// call asks a source for some accounts, and says what came of each, in order.
// Its error is of the call as a whole.
type call func(ctx context.Context, list []accounts.Account) ([]Outcome, error)

// The calls to a source that does one account at a time are of one account.

func creating(source Source) call {
	if bulk, ok := source.(Bulk); ok {
		return bulk.CreateAll
	}
	return single(source.Create)
}

func verifying(source Source) call {
	if bulk, ok := source.(Bulk); ok {
		return func(ctx context.Context, list []accounts.Account) ([]Outcome, error) {
			return outcomesOf(bulk.VerifyAll(ctx, list))
		}
	}
	return single(func(ctx context.Context, a accounts.Account) (Receipt, error) {
		return Receipt{}, source.Verify(ctx, a)
	})
}

func deleting(source Source) call {
	if bulk, ok := source.(Bulk); ok {
		return func(ctx context.Context, list []accounts.Account) ([]Outcome, error) {
			return outcomesOf(bulk.DeleteAll(ctx, list))
		}
	}
	return single(func(ctx context.Context, a accounts.Account) (Receipt, error) {
		return Receipt{}, source.Delete(ctx, a)
	})
}

func outcomesOf(errs []error, err error) ([]Outcome, error) {
	outcomes := make([]Outcome, len(errs))
	for i := range errs {
		outcomes[i].Err = errs[i]
	}
	return outcomes, err
}

func single(do func(context.Context, accounts.Account) (Receipt, error)) call {
	return func(ctx context.Context, list []accounts.Account) ([]Outcome, error) {
		outcomes := make([]Outcome, len(list))
		for i, a := range list {
			outcomes[i].Receipt, outcomes[i].Err = do(ctx, a)
		}
		return outcomes, nil
	}
}

// checked is the call, with an answer that fits the question.
func (do call) checked(ctx context.Context, list []accounts.Account) ([]Outcome, error) {
	outcomes, err := do(ctx, list)
	if err == nil && len(outcomes) != len(list) {
		return nil, fmt.Errorf("%w: the source answered for %d accounts of %d", ErrRefused, len(outcomes), len(list))
	}
	return outcomes, err
}
