package accounts

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"
)

// What is asked of Redis to move accounts that nobody holds.

//go:embed scripts/retire.lua
var retireSource string

var retireScript = guarded(retireSource)

func (s store) retire(ctx context.Context, role string, n int) (retired int, err error) {
	keys := []string{s.keys.gen(), s.keys.retired(), s.keys.born(), s.keys.available(role), s.keys.counts(role)}
	return counted(retireScript.Run(ctx, s.rdb, keys, s.id, role, n).Slice())
}

// What a script says became of an account that was to be moved.
const (
	placeDone      = "done"
	placeUnknown   = "unknown"
	placeLeased    = "leased"
	placeElsewhere = "elsewhere"
)

//go:embed scripts/retire_these.lua
var retireTheseSource string

var retireTheseScript = guarded(retireTheseSource)

// retireThese takes pairs of id and username, and returns the place of each.
func (s store) retireThese(ctx context.Context, role string, all []pair, onlyQuarantined bool) (places []string, err error) {
	keys := []string{
		s.keys.gen(), s.keys.index(), s.keys.quarantined(), s.keys.reasons(), s.keys.retired(), s.keys.born(),
		s.keys.available(role), s.keys.counts(role),
	}
	which := "any"
	if onlyQuarantined {
		which = "quarantined"
	}
	got, err := retireTheseScript.Run(ctx, s.rdb, keys, append([]any{s.id, role, which}, flat(all)...)...).Slice()
	return placed(len(all), got, err)
}

//go:embed scripts/quarantine.lua
var quarantineSource string

var quarantineScript = guarded(quarantineSource)

// quarantine takes pairs of id and username, and returns the place of each. For
// how long is for ever when 0.
func (s store) quarantine(ctx context.Context, role string, all []pair, why string, how time.Duration) (places []string, err error) {
	length := ""
	if how > 0 {
		length = strconv.FormatInt(max(how.Milliseconds(), 1), 10)
	}
	args := append([]any{s.id, length, why}, flat(all)...)
	got, err := quarantineScript.Run(ctx, s.rdb, s.moving(role), args...).Slice()
	return placed(len(all), got, err)
}

//go:embed scripts/restore.lua
var restoreSource string

var restoreScript = guarded(restoreSource)

// restore takes pairs of id and username, and returns the place of each.
func (s store) restore(ctx context.Context, role string, all []pair) (places []string, err error) {
	got, err := restoreScript.Run(ctx, s.rdb, s.moving(role), append([]any{s.id}, flat(all)...)...).Slice()
	return placed(len(all), got, err)
}

func (s store) moving(role string) []string {
	return []string{
		s.keys.gen(), s.keys.index(), s.keys.quarantined(), s.keys.reasons(), s.keys.retired(),
		s.keys.available(role), s.keys.counts(role),
	}
}

// placed decodes {status, {place of each of n accounts}}.
func placed(n int, got []any, err error) ([]string, error) {
	places, err := listed(got, err)
	if err == nil && len(places) != n {
		err = fmt.Errorf("%w: %d places of %d accounts", errReply, len(places), n)
	}
	return places, err
}
