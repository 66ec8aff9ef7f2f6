package accounts

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What is asked of Redis to add accounts, and to keep their records.

//go:embed scripts/keyed.lua
var keyedSource string

// keyed returns the script that begins with the prologue and with what writers
// of records begin with.
func keyed(source string) *redis.Script { return guarded(keyedSource + source) }

// keyArgs are the first arguments of such a script.
func (s store) keyArgs() []any {
	ids := ""
	if s.codec.keys != nil {
		ids = " " + strings.Join(s.codec.keys.IDs(), " ") + " "
	}
	return []any{s.id, s.codec.keys.first(), ids}
}

//go:embed scripts/key.lua
var keySource string

var keyScript = keyed(keySource)

// setKey remembers with which key records are encrypted, if there is one; with
// only, that no other key will be in use.
func (s store) setKey(ctx context.Context, only bool) error {
	if s.codec.keys == nil {
		return nil
	}
	which := ""
	if only {
		which = "only"
	}
	return status(keyScript.Run(ctx, s.rdb, []string{s.keys.gen()}, append(s.keyArgs(), which)...).Text())
}

//go:embed scripts/intend.lua
var intendSource string

var intendScript = keyed(intendSource)

// pair is a username, or an account's id, and the text that goes with it.
type pair struct{ key, text string }

func (s store) intend(ctx context.Context, records []pair) (added int, err error) {
	keys := []string{s.keys.gen(), s.keys.index(), s.keys.intents()}
	return counted(intendScript.Run(ctx, s.rdb, keys, append(s.keyArgs(), flat(records)...)...).Slice())
}

//go:embed scripts/drop.lua
var dropSource string

var dropScript = guarded(dropSource)

func (s store) drop(ctx context.Context, usernames []string) (dropped int, err error) {
	args := append([]any{s.id}, anys(usernames)...)
	return counted(dropScript.Run(ctx, s.rdb, []string{s.keys.gen(), s.keys.intents()}, args...).Slice())
}

//go:embed scripts/confirm.lua
var confirmSource string

var confirmScript = keyed(confirmSource)

// change is a record, by username or id, as it was read and as it is to be.
type change struct{ key, from, to string }

// confirm also returns how many were intended with another record than the one
// that was read.
func (s store) confirm(ctx context.Context, role string, aging bool, records []change) (confirmed, again int, err error) {
	keys := []string{
		s.keys.gen(), s.keys.intents(), s.keys.index(), s.keys.records(), s.keys.ids(), s.keys.roles(),
		s.keys.available(role), s.keys.counts(role),
	}
	if aging {
		keys = append(keys, s.keys.born())
	}
	args := append(s.keyArgs(), role, maxRoles)
	for _, c := range records {
		args = append(args, c.key, c.from, c.to)
	}
	got, err := confirmScript.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return 0, 0, err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return 0, 0, err
	}
	confirmed, again = int(r.number()), int(r.number())
	return confirmed, again, r.err
}

//go:embed scripts/import.lua
var importSource string

var importScript = keyed(importSource)

// add also returns the usernames that were known or intended.
func (s store) add(ctx context.Context, role string, aging bool, records []pair) (added int, passed []string, err error) {
	keys := []string{
		s.keys.gen(), s.keys.intents(), s.keys.index(), s.keys.records(), s.keys.ids(), s.keys.roles(),
		s.keys.available(role),
	}
	if aging {
		keys = append(keys, s.keys.born())
	}
	args := append(append(s.keyArgs(), role, maxRoles), flat(records)...)
	got, err := importScript.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return 0, nil, err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return 0, nil, err
	}
	added, passed = int(r.number()), r.texts()
	return added, passed, r.err
}

//go:embed scripts/rewrite.lua
var rewriteSource string

var rewriteScript = guarded(rewriteSource)

// rewrite replaces records of a hash that are as they were read.
func (s store) rewrite(ctx context.Context, hash string, records []change) (rewritten int, err error) {
	args := make([]any, 0, 1+3*len(records))
	args = append(args, s.id)
	for _, c := range records {
		args = append(args, c.key, c.from, c.to)
	}
	return counted(rewriteScript.Run(ctx, s.rdb, []string{s.keys.gen(), hash}, args...).Slice())
}

//go:embed scripts/forget.lua
var forgetSource string

var forgetScript = guarded(forgetSource)

// forget takes pairs of id and username.
func (s store) forget(ctx context.Context, role string, names []pair) (forgotten int, err error) {
	keys := []string{
		s.keys.gen(), s.keys.records(), s.keys.index(), s.keys.retired(), s.keys.uses(), s.keys.born(), s.keys.counts(role),
	}
	return counted(forgetScript.Run(ctx, s.rdb, keys, append([]any{s.id, role}, flat(names)...)...).Slice())
}

// checkKey says whether all keys in use are among those given: ErrKey if not.
func (s store) checkKey(ctx context.Context) error {
	used, err := s.rdb.HGet(ctx, s.keys.gen(), "key").Result()
	if err != nil && err != redis.Nil {
		return fmt.Errorf("look for the pool's key: %w", err)
	}
	for _, id := range strings.Fields(used) {
		if s.codec.keys.find(id) == nil {
			return missingKey(id)
		}
	}
	return nil
}

func flat(pairs []pair) []any {
	all := make([]any, 0, 2*len(pairs))
	for _, p := range pairs {
		all = append(all, p.key, p.text)
	}
	return all
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}
