package accounts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/redistest"
)

// The scripts against a model that fits on a page: random histories of several
// holders, with calls sent again, calls that come too late, expiry, and
// reclaiming in small batches. After each step every account is in the one
// place where the model has it, and every count is what the model counts.

// clock is the time that the scripts see. On an embedded server it is moved by
// hand and known to the millisecond. On a real one it is whatever it is: there
// nothing rests, and expiry is made by changing a holder's score.
type clock struct {
	now func() time.Time // nil on a real server
	add func(time.Duration)
}

type modelHolder struct {
	state   string // live, closing, dead, gone
	expires int64  // ms; on a real server 0 means expired, else not
	seq     int64
	held    map[string]int64 // id to token
	again   func(*rapid.T)   // sends the last call again and checks the answer
}

type machine struct {
	pool    *Pool
	rdb     redis.UniversalClient
	clock   clock
	role    map[string]string
	free    map[string]int64 // id to ready-at in ms, 0 on a real server
	retired map[string]bool
	bad     map[string]bool
	holders map[string]*modelHolder
	token   int64
	counts  map[string]*RoleStats
}

var modelRoles = []string{"proctor", "student"}

func newMachine(t *rapid.T, rdb redis.UniversalClient, c clock) *machine {
	m := &machine{
		rdb: rdb, clock: c, role: map[string]string{}, free: map[string]int64{}, retired: map[string]bool{},
		bad: map[string]bool{}, holders: map[string]*modelHolder{}, counts: map[string]*RoleStats{},
	}
	settings := Settings{LeaseTTL: time.Second, LockDelay: 200 * time.Millisecond}
	if c.now != nil {
		settings.Rest = 300 * time.Millisecond
	}
	pool, err := Create(context.Background(), Config{Redis: rdb, Namespace: uuid.NewString(), Name: "model"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	m.pool = pool
	var all []Account
	var names []string
	for i := range 8 {
		a := Account{Username: strconv.Itoa(i), Role: modelRoles[i%2]}
		all, names = append(all, a), append(names, a.Username)
	}
	if _, err := pool.Intend(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	if err := pool.Confirm(context.Background(), names); err != nil {
		t.Fatal(err)
	}
	for _, role := range modelRoles {
		m.counts[role] = &RoleStats{Role: role}
	}
	records, err := rdb.HGetAll(context.Background(), pool.store.keys.records()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range records {
		a, _ := decode(id, text)
		m.role[id], m.free[id] = a.Role, m.ms()
	}
	return m
}

func (m *machine) ms() int64 {
	if m.clock.now == nil {
		return 0
	}
	return m.clock.now().UnixMilli()
}

// readyAt is when an account that is given back now is ready.
func (m *machine) readyAt() int64 { return m.ms() + m.pool.settings.Rest.Milliseconds() }

func (m *machine) expired(h *modelHolder) bool {
	if m.clock.now == nil {
		return h.expires == 0
	}
	return h.expires <= m.ms()
}

func (m *machine) renewed(h *modelHolder) {
	h.expires = max(h.expires, m.ms()+m.pool.settings.LeaseTTL.Milliseconds())
}

// pick draws a holder, or skips the step when there is none.
func (m *machine) pick(t *rapid.T) (string, *modelHolder) {
	if len(m.holders) == 0 {
		t.Skip("no holder")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.holders))).Draw(t, "holder")
	return id, m.holders[id]
}

func want(t *rapid.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (m *machine) Open(t *rapid.T) {
	if len(m.holders) >= 5 {
		t.Skip("enough holders")
	}
	id := "holder-" + strconv.Itoa(len(m.holders))
	want(t, "open", m.pool.store.open(t.Context(), id, m.pool.settings.LeaseTTL, "name"), nil)
	h := &modelHolder{state: "live", held: map[string]int64{}, again: func(*rapid.T) {}}
	m.renewed(h)
	if m.clock.now == nil {
		h.expires = 1
	}
	m.holders[id] = h
}

func (m *machine) OpenTwice(t *rapid.T) {
	id, h := m.pick(t)
	if h.state == "gone" {
		t.Skip("its keys are gone; only its random id protects it")
	}
	want(t, "open again", m.pool.store.open(t.Context(), id, m.pool.settings.LeaseTTL, "name"), errExists)
}

func (m *machine) Renew(t *rapid.T) {
	id, h := m.pick(t)
	err := m.pool.store.renew(t.Context(), id, m.pool.settings.LeaseTTL)
	if h.state != "live" {
		want(t, "renew a holder that is "+h.state, err, errGone)
		return
	}
	want(t, "renew", err, nil)
	m.renewed(h)
	if m.clock.now == nil {
		h.expires = 1
	}
}

func (m *machine) Lease(t *rapid.T) {
	id, h := m.pick(t)
	role := rapid.SampledFrom(modelRoles).Draw(t, "role")
	n := rapid.IntRange(1, 4).Draw(t, "n")
	seq := h.seq + rapid.Int64Range(1, 3).Draw(t, "step") // numbers may be skipped
	got, err := m.pool.store.lease(t.Context(), id, seq, n, role)
	switch {
	case h.state != "live":
		want(t, "lease to a holder that is "+h.state, err, errGone)
		return
	case m.expired(h):
		want(t, "lease to an expired holder", err, errExpired)
		return
	}
	want(t, "lease", err, nil)
	h.seq = seq
	var ready []string
	for id, at := range m.free {
		if m.role[id] == role && at <= m.ms() {
			ready = append(ready, id)
		}
	}
	slices.SortFunc(ready, func(a, b string) int {
		return cmpOr(m.free[a]-m.free[b], a, b)
	})
	k := min(n, len(ready))
	if len(got.accounts) != k || got.short != (k < n) {
		t.Fatalf("lease of %d from %v: got %d, short %v", n, ready, len(got.accounts), got.short)
	}
	ids := make([]string, k)
	for i, a := range got.accounts {
		ids[i] = a.ID
		if a.Token <= m.token {
			t.Fatalf("token %d after %d", a.Token, m.token)
		}
		if a.Role != role || !slices.Contains(ready, a.ID) {
			t.Fatalf("leased %q as %q; ready were %v", a.ID, role, ready)
		}
	}
	if m.clock.now != nil && !slices.Equal(ids, ready[:k]) {
		t.Fatalf("leased %v; longest ready were %v", ids, ready[:k])
	}
	m.checkWait(t, role, got, ids)
	for _, a := range got.accounts {
		h.held[a.ID] = a.Token
		delete(m.free, a.ID)
		m.token = max(m.token, a.Token)
	}
	c := m.counts[role]
	c.Leased += int64(k)
	c.Leases += int64(k)
	c.PeakLeased = max(c.PeakLeased, c.Leased)

	h.again = func(t *rapid.T) {
		again, err := m.pool.store.lease(t.Context(), id, seq, n, role)
		if h.state != "live" {
			want(t, "the same lease of a holder that is "+h.state, err, errGone)
			return
		}
		want(t, "the same lease", err, nil)
		same := slices.EqualFunc(again.accounts, got.accounts, func(a, b Leased) bool {
			return a.ID == b.ID && a.Token == b.Token && a.Username == b.Username
		})
		if !same {
			t.Fatalf("the same lease again: got %v, want %v", again.accounts, got.accounts)
		}
	}
}

// checkWait checks how long a lease that was short says that one must wait.
func (m *machine) checkWait(t *rapid.T, role string, got grant, leased []string) {
	if !got.short || m.clock.now == nil {
		return
	}
	wait := int64(-1)
	for id, at := range m.free {
		if m.role[id] == role && !slices.Contains(leased, id) && (wait < 0 || at-m.ms() < wait) {
			wait = at - m.ms()
		}
	}
	if wait < 0 && got.wait >= 0 || wait >= 0 && got.wait != time.Duration(wait)*time.Millisecond {
		t.Fatalf("the next account is ready in %v; want %d ms", got.wait, wait)
	}
}

func (m *machine) Release(t *rapid.T) {
	id, h := m.pick(t)
	all := slices.Sorted(maps.Keys(m.role))
	n := rapid.IntRange(1, 4).Draw(t, "n")
	var batch []release
	var stale []string
	taken := map[string]bool{}
	for range n {
		rel := release{id: rapid.SampledFrom(all).Draw(t, "account")}
		if own := slices.Sorted(maps.Keys(h.held)); len(own) > 0 && rapid.IntRange(0, 2).Draw(t, "own") > 0 {
			rel.id = rapid.SampledFrom(own).Draw(t, "own account")
		}
		rel.role, rel.token = m.role[rel.id], h.held[rel.id]
		if rapid.IntRange(0, 2).Draw(t, "late") == 0 {
			rel.token-- // of an earlier lease
		}
		if rapid.IntRange(0, 4).Draw(t, "refused") == 0 {
			rel.outcome = Refused("no")
		}
		if token, held := h.held[rel.id]; !held || token != rel.token || taken[rel.id] {
			stale = append(stale, rel.id)
		} else {
			taken[rel.id] = true
		}
		batch = append(batch, rel)
	}
	seq := h.seq + 1
	got, err := m.pool.store.release(t.Context(), id, seq, m.pool.settings.Rest, batch)
	if h.state != "live" {
		want(t, "release by a holder that is "+h.state, err, errGone)
		return
	}
	want(t, "release", err, nil)
	slices.Sort(got)
	slices.Sort(stale)
	if !slices.Equal(got, stale) {
		t.Fatalf("stale: got %v, want %v", got, stale)
	}
	h.seq = seq
	done := map[string]bool{}
	for _, rel := range batch {
		if !taken[rel.id] || done[rel.id] || h.held[rel.id] != rel.token {
			continue
		}
		done[rel.id] = true
		delete(h.held, rel.id)
		c := m.counts[rel.role]
		c.Leased--
		c.Releases++
		if rel.outcome == OK {
			m.free[rel.id] = m.readyAt()
		} else {
			m.bad[rel.id] = true
			c.Quarantined++
		}
	}
	h.again = func(t *rapid.T) {
		_, err := m.pool.store.release(t.Context(), id, seq, m.pool.settings.Rest, batch)
		if h.state != "live" {
			want(t, "the same release of a holder that is "+h.state, err, errGone)
			return
		}
		want(t, "the same release", err, nil)
		_, err = m.pool.store.lease(t.Context(), id, seq, 1, modelRoles[0])
		want(t, "a lease with the number of a release", err, errStale)
	}
}

// Again sends a holder's last call once more.
func (m *machine) Again(t *rapid.T) {
	_, h := m.pick(t)
	h.again(t)
}

// Late lets an older call arrive after a newer one.
func (m *machine) Late(t *rapid.T) {
	id, h := m.pick(t)
	if h.seq == 0 {
		t.Skip("no call yet")
	}
	expect := errStale
	if h.state != "live" {
		expect = errGone
	}
	_, err := m.pool.store.lease(t.Context(), id, h.seq-1, 1, modelRoles[0])
	want(t, "a late lease", err, expect)
	_, err = m.pool.store.release(t.Context(), id, h.seq-1, 0, []release{{id: "1", role: "student", token: h.held["1"]}})
	want(t, "a late release", err, expect)
}

// Pass lets time pass; on a real server, it makes a holder expire.
func (m *machine) Pass(t *rapid.T) {
	if m.clock.now != nil {
		m.clock.add(time.Duration(rapid.IntRange(1, 700).Draw(t, "ms")) * time.Millisecond)
		return
	}
	id, h := m.pick(t)
	m.expire(t, id, h)
}

// expire lets a holder expire, and the lock-delay pass.
func (m *machine) expire(t *rapid.T, id string, h *modelHolder) {
	switch {
	case m.clock.now != nil:
		m.clock.add(m.pool.settings.LeaseTTL + m.pool.settings.LockDelay + time.Millisecond)
	case h.state == "live":
		if err := m.rdb.ZAdd(t.Context(), m.pool.store.keys.holders(), redis.Z{Score: 7, Member: id}).Err(); err != nil {
			t.Fatal(err)
		}
		h.expires = 0
	}
}

// back moves up to n of the holder's accounts back in the model, those that
// are not held in Redis any more.
func (m *machine) back(t *rapid.T, id string, h *modelHolder, moved, left int, reclaimed bool) {
	held, err := m.rdb.HKeys(t.Context(), m.pool.store.keys.held(id)).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != left || moved+left != len(h.held) {
		t.Fatalf("closing: moved %d, left %d; Redis has %v, the model had %v", moved, left, held, h.held)
	}
	for account := range maps.Clone(h.held) {
		if slices.Contains(held, account) {
			continue
		}
		delete(h.held, account)
		m.free[account] = m.readyAt()
		c := m.counts[m.role[account]]
		c.Leased--
		if reclaimed {
			c.Reclaimed++
		} else {
			c.Releases++
		}
	}
	if left == 0 {
		h.state = "gone"
	}
}

func (m *machine) Reclaim(t *rapid.T) {
	id, h := m.pick(t)
	if rapid.IntRange(0, 2).Draw(t, "expires") == 0 {
		m.expire(t, id, h)
	}
	score, err := m.rdb.ZScore(t.Context(), m.pool.store.keys.holders(), id).Result()
	if h.state == "gone" {
		want(t, "score of a holder that is gone", err, redis.Nil)
		score = 7
	}
	seen := fmt.Sprintf("%.0f", score)
	missed := rapid.IntRange(0, 3).Draw(t, "missed") == 0
	if missed && h.state == "live" {
		seen = fmt.Sprintf("%.0f", score-1) // it was renewed since
	}
	moved, left, err := m.pool.store.close(t.Context(), id, seen, m.pool.settings,
		rapid.IntRange(1, 3).Draw(t, "batch"), modelRoles)
	over := m.expired(h)
	if m.clock.now != nil {
		over = h.expires+m.pool.settings.LockDelay.Milliseconds() < m.ms()
	}
	switch {
	case h.state == "gone":
		want(t, "reclaim a holder that is gone", err, errGone)
	case h.state == "live" && (missed || !over):
		want(t, "reclaim a live holder", err, errLive)
	default:
		want(t, "reclaim", err, nil)
		if h.state == "live" {
			h.state = "dead"
		}
		m.back(t, id, h, moved, left, h.state == "dead")
	}
}

func (m *machine) Close(t *rapid.T) {
	id, h := m.pick(t)
	moved, left, err := m.pool.store.close(t.Context(), id, "", m.pool.settings,
		rapid.IntRange(1, 3).Draw(t, "batch"), modelRoles)
	if h.state == "gone" {
		want(t, "close a holder that is gone", err, errGone)
		return
	}
	want(t, "close", err, nil)
	if h.state == "live" {
		h.state = "closing"
	}
	m.back(t, id, h, moved, left, h.state == "dead")
}

// CloseBlind closes without the keys of the roles: nothing may change.
func (m *machine) CloseBlind(t *rapid.T) {
	id, h := m.pick(t)
	if len(h.held) == 0 {
		t.Skip("holds nothing")
	}
	_, _, err := m.pool.store.close(t.Context(), id, "", m.pool.settings, 8, []string{"another"})
	want(t, "close without the roles", err, ErrRoles)
}

func (m *machine) Retire(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip("rarely")
	}
	role := rapid.SampledFrom(modelRoles).Draw(t, "role")
	if _, err := m.pool.Retire(t.Context(), role, 1); err != nil {
		t.Fatal(err)
	}
	ids, err := m.rdb.HKeys(t.Context(), m.pool.store.keys.retired()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if m.retired[id] {
			continue
		}
		if _, free := m.free[id]; !free {
			t.Fatalf("retired %s, which was not free", id)
		}
		delete(m.free, id)
		m.retired[id] = true
		m.counts[m.role[id]].Retired++
	}
}

// Check compares all of Redis with all of the model.
func (m *machine) Check(t *rapid.T) {
	if err := m.pool.Audit(t.Context()); err != nil {
		t.Fatalf("audit: %v", err)
	}
	for id, h := range m.holders {
		got, err := m.rdb.HGetAll(t.Context(), m.pool.store.keys.held(id)).Result()
		if err != nil {
			t.Fatal(err)
		}
		expect := map[string]string{}
		for account, token := range h.held {
			expect[account] = fmt.Sprintf("%d %s", token, m.role[account])
		}
		if !maps.Equal(got, expect) {
			t.Fatalf("%s holds %v; want %v", id, got, expect)
		}
	}
	stats, err := m.pool.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range stats {
		expect := *m.counts[got.Role]
		expect.Known = 4
		for id, at := range m.free {
			switch {
			case m.role[id] != got.Role:
			case at <= m.ms():
				expect.Available++
			default:
				expect.Resting++
			}
		}
		if got != expect {
			t.Fatalf("counts: got %+v, want %+v", got, expect)
		}
	}
}

// cmpOr compares by a difference, then by the texts.
func cmpOr(difference int64, a, b string) int {
	switch {
	case difference < 0:
		return -1
	case difference > 0:
		return 1
	case a < b:
		return -1
	default:
		return 1
	}
}

func (m *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": m.Check, "open": m.Open, "open twice": m.OpenTwice, "renew": m.Renew, "lease": m.Lease, "lease more": m.Lease,
		"release": m.Release, "again": m.Again, "late": m.Late, "pass": m.Pass, "reclaim": m.Reclaim, "close": m.Close,
		"close blind": m.CloseBlind, "retire": m.Retire,
	}
}

func TestScriptsKeepToTheModel(t *testing.T) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		rdb, _ := redistest.Real(t)
		rapid.Check(t, func(t *rapid.T) {
			t.Repeat(newMachine(t, rdb, clock{}).actions())
		})
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		server, rdb, _ := redistest.Piped(t)
		now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
		c := clock{
			now: func() time.Time { return now },
			add: func(d time.Duration) { now = now.Add(d); server.SetTime(now) },
		}
		c.add(0)
		rapid.Check(t, func(t *rapid.T) {
			t.Repeat(newMachine(t, rdb, c).actions())
		})
	})
}
