//go:build linux

package chaos_test

// mutant is the product with a guard taken away. A run with it must fail.
type mutant struct {
	name, what string
	edits      []edit
}

// mutants are those of the test plan of the lease design. None of the code under
// test knows of them: they are put over it when it is built.
//
// Between a late release and the account stand two guards, the number of the call
// and the token. A product that lacks only one of them passes these runs, so the
// first two mutants take both away.
func mutants() []mutant {
	const (
		lua     = "accounts/scripts/"
		stale   = "if seq < last then return {'STALE', {}} end"
		setSeq  = "redis.call('HSET', KEYS[2], 'seq', ARGV[3])\nredis.call('HDEL'"
		keepSeq = "redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', math.max(seq, last)))\nredis.call('HDEL'"
	)
	late := func(all, one string) []edit {
		return []edit{
			{lua + "release.lua", stale, ""},
			{lua + "release.lua", setSeq, keepSeq},
			{lua + "release.lua", "if held[i] ~= value then whole = false end", all},
			{lua + "release.lua", "if not whole and (held[at - 8] ~= value or seen[id]) then", one},
		}
	}
	return []mutant{
		{"release-without-token", "a release is believed if the holder holds the account, by whatever token",
			late("if not held[i] then whole = false end", "if not whole and (not held[at - 8] or seen[id]) then")},
		{"blind-release", "a release is believed", late("", "if not whole and seen[id] then")},
		{"lease-ignores-expiry", "a lease is good for ever", []edit{
			{"accounts/fence.go", "return t.length - max(monotonic, wall)", "return t.length"}}},
		{"reclaim-without-lock-delay", "accounts are reclaimed as soon as their holder has expired", []edit{
			{lua + "close.lua", "if now <= tonumber(score) + tonumber(ARGV[4]) then", "if now <= tonumber(score) then"}}},
		{"counter-only-token", "a token is the last one and one more", []edit{
			{lua + "lease.lua", "tonumber(redis.call('GET', KEYS[6]) or '0') + 1, t[1] * 1000000 + t[2]))",
				"tonumber(redis.call('GET', KEYS[6]) or '0') + 1))"}}},
		{"registration-reused", "a worker registers by its name, again after a crash", []edit{
			{"accounts/holder.go", "id, sent := uuid.NewString(), time.Now()",
				"id, sent := uuid.NewSHA1(uuid.Nil, []byte(h.name)).String(), time.Now()"}}},
		{"deadline-from-reply", "trust counts from when the reply has come", []edit{
			{"accounts/run.go", "h.fence.renew(sent, settings.trust())", "h.fence.renew(time.Now(), settings.trust())"}}},
		{"check-before-encoding", "the fence is asked before a request is prepared, and not when it leaves", []edit{
			{"internal/dial/conn.go", "if err := c.dialer.check(); err != nil {", "if err := error(nil); err != nil {"}}},
		{"no-number-on-retry", "a call that is repeated is done again", []edit{
			{lua + "lease.lua", "if seq == last then\n  status, token = 'DUP', h[3]", "if false then\n  status, token = 'DUP', h[3]"}}},
		{"freeze-removed", "a Redis that has lost writes leases at once", []edit{
			{lua + "prologue.lua", "frozen = now + tonumber(g[4])", "frozen = now"}}},
		{"one-clock-reclaimer", "the reclaimer believes Redis's clock alone", []edit{
			{"accounts/reclaim.go", "if z.Score == 0 || began.Sub(s.since) >= r.pool.settings.LeaseTTL {", "if true {"}}},
		{"unbounded-batch", "one script reclaims all that a dead holder held", []edit{
			{"accounts/reclaim.go", "return r.pool.store.close(ctx, id, seen, r.pool.settings, moveBatch, roles)",
				"return r.pool.store.close(ctx, id, seen, r.pool.settings, 1<<20, roles)"},
			{lua + "close.lua", "if batch < 1 or batch > 1000 then", "if batch < 1 then"}}},
	}
}
