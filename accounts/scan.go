package accounts

import (
	"context"
	"slices"
)

// What is read of a whole hash or sorted set, a page at a time.

// scanHash calls do with every field and value that is in the hash the whole
// time, in pages of at most moveBatch. A field may come twice.
func (s store) scanHash(ctx context.Context, key string, do func(page []pair) error) error {
	return scan(func(cursor uint64) ([]string, uint64, error) {
		return s.rdb.HScan(ctx, key, cursor, "", moveBatch).Result()
	}, do)
}

// scanSet does the same with a sorted set's members and scores.
func (s store) scanSet(ctx context.Context, key string, do func(page []pair) error) error {
	return scan(func(cursor uint64) ([]string, uint64, error) {
		return s.rdb.ZScan(ctx, key, cursor, "", moveBatch).Result()
	}, do)
}

func scan(next func(cursor uint64) ([]string, uint64, error), do func(page []pair) error) error {
	for cursor := uint64(0); ; {
		texts, after, err := next(cursor)
		if err != nil {
			return err
		}
		// A small hash, and any of an embedded server, comes as one page.
		for part := range slices.Chunk(texts, 2*moveBatch) {
			page := make([]pair, len(part)/2)
			for i := range page {
				page[i] = pair{part[2*i], part[2*i+1]}
			}
			if err := do(page); err != nil {
				return err
			}
		}
		if cursor = after; cursor == 0 {
			return nil
		}
	}
}
