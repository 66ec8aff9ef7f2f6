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

// The scripts against a model: random histories of several holders, with calls
// sent again, calls that come too late, expiry, reclaiming in small batches, and
// crashes of Redis that lose its last writes. After each step every account is
// in the one place where the model has it, every count is what the model counts,
// and no two holders that may trust their leases have the same account.

// clock is the time that the scripts see. On an embedded server it is moved by
// hand and known to the millisecond. On a real one it is whatever it is: there
// nothing rests, and expiry is made by changing a holder's score.
type clock struct {
	now func() time.Time // nil on a real server
	add func(time.Duration)
}

type modelHolder struct {
	// What Redis knows.
	state   string // live, revoked, closing, dead, gone
	expires int64  // ms; on a real server 0 means expired, else not
	seq     int64
	held    map[string]int64 // id to token

	// What the holder knows, which no crash of Redis takes away.
	own      map[string]int64
	answered int64
	until    int64          // ms: it trusts its leases; on a real server 1, or 0 for not
	ended    bool           // it has closed itself, and calls no more
	again    func(*rapid.T) // sends the last call again and checks the answer
}

// world is all that Redis knows, and that a crash may set back.
type world struct {
	free    map[string]int64 // id to ready-at in ms, 0 on a real server
	retired map[string]bool
	bad     map[string]bool
	uses    map[string]int64
	counts  map[string]*RoleStats
	want    map[string]map[string]int64 // role, holder
	holders map[string]modelHolder
	redis   func(tester) // puts Redis back
}

type machine struct {
	pool    *Pool
	rdb     redis.UniversalClient
	clock   clock
	role    map[string]string
	free    map[string]int64
	retired map[string]bool
	bad     map[string]bool
	uses    map[string]int64
	counts  map[string]*RoleStats
	want    map[string]map[string]int64
	holders map[string]*modelHolder
	token   int64
	frozen  int64 // until, in ms; on a real server 1, or 0 for not
	saved   *world
}

var modelRoles = []string{"proctor", "student"}

func newMachine(t *rapid.T, rdb redis.UniversalClient, c clock) *machine {
	m := &machine{
		rdb: rdb, clock: c, role: map[string]string{}, free: map[string]int64{}, retired: map[string]bool{},
		bad: map[string]bool{}, uses: map[string]int64{}, holders: map[string]*modelHolder{},
		counts: map[string]*RoleStats{}, want: map[string]map[string]int64{},
	}
	settings := Settings{
		LeaseTTL: time.Second, LockDelay: 200 * time.Millisecond, ReplicaLag: 100 * time.Millisecond,
		MaxUses: rapid.SampledFrom([]int{0, 3}).Draw(t, "max uses"),
	}
	if c.now != nil {
		settings.Rest = 300 * time.Millisecond
	} else {
		// However slow the machine is, nothing expires or thaws by waiting.
		settings.LeaseTTL = time.Hour
	}
	pool, err := Create(context.Background(), Config{Redis: rdb, Namespace: uuid.NewString(), Name: "model"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	m.pool = pool
	var all []Account
	for i := range 8 {
		all = append(all, Account{Username: strconv.Itoa(i), Role: modelRoles[i%2]})
	}
	if _, err := pool.Intend(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Confirm(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	for _, role := range modelRoles {
		m.counts[role], m.want[role] = &RoleStats{Role: role}, map[string]int64{}
	}
	records, err := rdb.HGetAll(context.Background(), pool.store.keys.records()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range records {
		a, _ := pool.store.codec.decode(id, text)
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
	if m.clock.now == nil {
		h.expires, h.until = 1, 1
		return
	}
	h.expires = max(h.expires, m.ms()+m.pool.settings.LeaseTTL.Milliseconds())
	h.until = m.ms() + m.pool.settings.trust().Milliseconds()
}

// trusts tells whether the holder may use what it owns.
func (m *machine) trusts(h *modelHolder) bool {
	if m.clock.now == nil {
		return h.until > 0
	}
	return m.ms() < h.until
}

func (m *machine) isFrozen() bool {
	if m.clock.now == nil {
		return m.frozen > 0
	}
	return m.ms() < m.frozen
}

// caller draws a holder that still makes calls.
func (m *machine) caller(t *rapid.T) (string, *modelHolder) {
	id, h := m.pick(t)
	if h.ended && h.state == "live" {
		t.Skip("it has ended, and only Redis does not know any more")
	}
	return id, h
}

// gone is what a holder does that learns that it is not registered.
func (h *modelHolder) gone() { h.own = map[string]int64{} }

// used counts a use, and tells whether it was the last.
func (m *machine) used(id string) (worn bool) {
	if m.pool.settings.MaxUses == 0 {
		return false
	}
	m.uses[id]++
	return m.uses[id] >= int64(m.pool.settings.MaxUses)
}

// givenBack puts an account that was used where it belongs.
func (m *machine) givenBack(id string) {
	if m.used(id) {
		m.retired[id] = true
		m.counts[m.role[id]].Retired++
		return
	}
	m.free[id] = m.readyAt()
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
	h := &modelHolder{state: "live", held: map[string]int64{}, own: map[string]int64{}, again: func(*rapid.T) {}}
	m.renewed(h)
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
	id, h := m.caller(t)
	err := m.pool.store.renew(t.Context(), id, m.pool.settings.LeaseTTL, h.answered)
	switch {
	case h.state != "live":
		want(t, "renew a holder that is "+h.state, err, errGone)
		h.gone()
	case h.seq < h.answered:
		want(t, "renew when calls are lost", err, errResync)
	default:
		want(t, "renew", err, nil)
		m.renewed(h)
	}
}

func (m *machine) Lease(t *rapid.T) {
	id, h := m.caller(t)
	role := rapid.SampledFrom(modelRoles).Draw(t, "role")
	n, extra := rapid.IntRange(0, 4).Draw(t, "n"), rapid.IntRange(0, 2).Draw(t, "extra")
	if n+extra == 0 {
		n = 1
	}
	seq := h.answered + rapid.SampledFrom([]int64{1, 1, 1, 2}).Draw(t, "step")
	lease := func() (grant, error) { return m.pool.store.lease(t.Context(), id, "name", seq, n, extra, role, 0) }
	got, err := lease()
	switch {
	case h.state != "live":
		want(t, "lease to a holder that is "+h.state, err, errGone)
		h.gone()
		return
	case seq > h.seq+1:
		want(t, "lease after a call that was lost", err, errResync)
		return
	case m.expired(h):
		want(t, "lease to an expired holder", err, errExpired)
		return
	}
	want(t, "lease", err, nil)
	h.seq, h.answered = seq, seq
	if m.isFrozen() {
		if len(got.accounts) > 0 || !got.frozen || got.short != (n > 0) {
			t.Fatalf("lease while frozen: got %+v", got)
		}
		h.again = func(t *rapid.T) { m.leaseAgain(t, h, lease, got) }
		return
	}
	var ready []string
	for id, at := range m.free {
		if m.role[id] == role && at <= m.ms() {
			ready = append(ready, id)
		}
	}
	slices.SortFunc(ready, func(a, b string) int {
		return cmpOr(m.free[a]-m.free[b], a, b)
	})
	most := n
	if others := maps.Clone(m.want[role]); extra > 0 {
		delete(others, id)
		if len(others) == 0 {
			most += max(0, min(extra, (len(ready)-n)/2))
		}
	}
	k := min(most, len(ready))
	if len(got.accounts) != k || got.short != (k < n) || got.frozen {
		t.Fatalf("lease of %d and %d more from %v: got %d, short %v, frozen %v", n, extra, ready, len(got.accounts), got.short, got.frozen)
	}
	delete(m.want[role], id)
	if k < n {
		m.want[role][id] = int64(n - k)
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
		h.held[a.ID], h.own[a.ID] = a.Token, a.Token
		delete(m.free, a.ID)
		m.token = max(m.token, a.Token)
	}
	c := m.counts[role]
	c.Leased += int64(k)
	c.Leases += int64(k)
	c.PeakLeased = max(c.PeakLeased, c.Leased)
	h.again = func(t *rapid.T) { m.leaseAgain(t, h, lease, got) }
}

func (m *machine) leaseAgain(t *rapid.T, h *modelHolder, lease func() (grant, error), got grant) {
	again, err := lease()
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
	id, h := m.caller(t)
	all := slices.Sorted(maps.Keys(m.role))
	n := rapid.IntRange(1, 4).Draw(t, "n")
	var batch []release
	var stale []string
	taken := map[string]bool{}
	for range n {
		rel := release{id: rapid.SampledFrom(all).Draw(t, "account")}
		if own := slices.Sorted(maps.Keys(h.own)); len(own) > 0 && rapid.IntRange(0, 2).Draw(t, "own") > 0 {
			rel.id = rapid.SampledFrom(own).Draw(t, "own account")
		}
		if slices.ContainsFunc(batch, func(r release) bool { return r.id == rel.id }) {
			continue // a holder names an account once
		}
		rel.role, rel.token = m.role[rel.id], h.own[rel.id]
		if rapid.IntRange(0, 2).Draw(t, "late") == 0 {
			rel.token-- // of an earlier lease
		}
		switch rapid.IntRange(0, 5).Draw(t, "outcome") {
		case 0:
			rel.outcome = Refused("no")
		case 1:
			rel.unused = true
		}
		if token, held := h.held[rel.id]; !held || token != rel.token || taken[rel.id] {
			stale = append(stale, rel.id)
		} else {
			taken[rel.id] = true
		}
		batch = append(batch, rel)
	}
	if len(batch) == 0 {
		t.Skip("nothing drawn")
	}
	seq := h.answered + 1
	got, err := m.pool.store.release(t.Context(), id, "name", seq, m.pool.settings, batch)
	switch {
	case h.state != "live":
		want(t, "release by a holder that is "+h.state, err, errGone)
		h.gone()
		return
	case seq > h.seq+1:
		want(t, "release after a call that was lost", err, errResync)
		return
	}
	want(t, "release", err, nil)
	slices.Sort(got)
	slices.Sort(stale)
	if !slices.Equal(got, stale) {
		t.Fatalf("stale: got %v, want %v", got, stale)
	}
	h.seq, h.answered = seq, seq
	for _, rel := range batch {
		if !taken[rel.id] || h.held[rel.id] != rel.token {
			continue
		}
		delete(taken, rel.id) // the first of several counts
		delete(h.held, rel.id)
		delete(h.own, rel.id)
		c := m.counts[rel.role]
		c.Leased--
		c.Releases++
		switch {
		case rel.outcome != OK:
			m.used(rel.id)
			m.bad[rel.id] = true
			c.Quarantined++
		case rel.unused:
			m.free[rel.id] = m.ms()
		default:
			m.givenBack(rel.id)
		}
	}
	h.again = func(t *rapid.T) {
		_, err := m.pool.store.release(t.Context(), id, "name", seq, m.pool.settings, batch)
		if h.state != "live" {
			want(t, "the same release of a holder that is "+h.state, err, errGone)
			return
		}
		want(t, "the same release", err, nil)
		_, err = m.pool.store.lease(t.Context(), id, "name", seq, 1, 0, modelRoles[0], 0)
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
	_, err := m.pool.store.lease(t.Context(), id, "name", h.seq-1, 1, 0, modelRoles[0], 0)
	want(t, "a late lease", err, expect)
	_, err = m.pool.store.release(t.Context(), id, "name", h.seq-1, Settings{}, []release{{id: "1", role: "student", token: h.held["1"]}})
	want(t, "a late release", err, expect)
}

// Pass lets time pass; on a real server, it makes a holder expire.
func (m *machine) Pass(t *rapid.T) {
	if m.clock.now != nil {
		m.clock.add(time.Duration(rapid.SampledFrom([]int{1, 100, 300, 700, 1300}).Draw(t, "ms")) * time.Millisecond)
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
	case h.state == "live", h.state == "revoked":
		if err := m.rdb.ZAdd(t.Context(), m.pool.store.keys.holders(), redis.Z{Score: 7, Member: id}).Err(); err != nil {
			t.Fatal(err)
		}
		h.expires, h.until = 0, 0
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
		m.givenBack(account)
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
		for _, role := range modelRoles {
			delete(m.want[role], id)
		}
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
	live := h.state == "live" || h.state == "revoked"
	if missed && live {
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
	case live && (missed || !over):
		want(t, "reclaim a live holder", err, errLive)
	default:
		want(t, "reclaim", err, nil)
		if live {
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
	if h.state == "live" || h.state == "revoked" {
		h.state = "closing"
	}
	h.ended = true
	h.gone()
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
	_, err := m.pool.Retire(t.Context(), role, 1)
	if m.isFrozen() {
		want(t, "retire while frozen", err, ErrFrozen)
		return
	}
	want(t, "retire", err, nil)
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

// Revoke takes a registration away from outside.
func (m *machine) Revoke(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
		t.Skip("rarely")
	}
	id, h := m.pick(t)
	err := m.pool.store.revoke(t.Context(), id)
	if h.state != "live" {
		want(t, "revoke a holder that is "+h.state, err, errGone)
		return
	}
	want(t, "revoke", err, nil)
	h.state = "revoked"
}

// Save notes what Redis has, for a crash to come.
func (m *machine) Save(t *rapid.T) {
	s := m.pool.store
	keys := []string{
		s.keys.gen(), s.keys.records(), s.keys.index(), s.keys.ids(), s.keys.token(), s.keys.roles(), s.keys.holders(),
		s.keys.quarantined(), s.keys.reasons(), s.keys.retired(), s.keys.uses(),
	}
	keys = append(keys, s.keys.ofRoles(modelRoles)...)
	for id := range 6 {
		keys = append(keys, s.keys.holder("holder-"+strconv.Itoa(id)), s.keys.held("holder-"+strconv.Itoa(id)))
	}
	w := &world{
		free: maps.Clone(m.free), retired: maps.Clone(m.retired), bad: maps.Clone(m.bad), uses: maps.Clone(m.uses),
		counts: map[string]*RoleStats{}, want: map[string]map[string]int64{}, holders: map[string]modelHolder{},
		redis: snapshot(t, m.rdb, true, keys),
	}
	for _, role := range modelRoles {
		c := *m.counts[role]
		w.counts[role], w.want[role] = &c, maps.Clone(m.want[role])
	}
	for id, h := range m.holders {
		saved := *h
		saved.held = maps.Clone(h.held)
		w.holders[id] = saved
	}
	m.saved = w
}

// Crash puts Redis back to what was saved, as another process.
func (m *machine) Crash(t *rapid.T) {
	w := m.saved
	if w == nil {
		t.Skip("nothing saved")
	}
	m.saved = nil
	w.redis(t)
	if err := m.rdb.HSet(t.Context(), m.pool.store.keys.gen(), "run", "before").Err(); err != nil {
		t.Fatal(err)
	}
	m.free, m.retired, m.bad, m.uses, m.counts, m.want = w.free, w.retired, w.bad, w.uses, w.counts, w.want
	for id, h := range m.holders {
		saved, known := w.holders[id]
		if !known {
			saved = modelHolder{state: "gone", held: map[string]int64{}}
		}
		h.state, h.expires, h.seq, h.held = saved.state, saved.expires, saved.seq, saved.held
		h.again = func(*rapid.T) {}
	}
	// The freeze begins with the first call.
	left, err := m.pool.Frozen(t.Context())
	settings := m.pool.settings
	whole := settings.LeaseTTL + settings.LockDelay + settings.ReplicaLag
	if err != nil || left <= 0 || left > whole || m.clock.now != nil && left != whole {
		t.Fatalf("frozen for %v, %v; want %v", left, err, whole)
	}
	m.frozen = 1
	if m.clock.now != nil {
		m.frozen = m.ms() + whole.Milliseconds()
	}
}

// Outage loses the last calls of some holders, and perhaps lets the freeze pass
// before one of them is heard of again.
func (m *machine) Outage(t *rapid.T) {
	m.Save(t)
	for range rapid.IntRange(1, 3).Draw(t, "calls that are lost") {
		m.Lease(t)
	}
	m.Crash(t)
	if rapid.Bool().Draw(t, "late") {
		if m.clock.now != nil {
			m.clock.add(1300 * time.Millisecond)
		} else {
			m.Thaw(t)
		}
	}
	m.Resync(t)
}

// Thaw ends a freeze on a real server, where it does not end by waiting. Those
// that have not renewed since the crash have fenced themselves by then.
func (m *machine) Thaw(t *rapid.T) {
	if m.clock.now != nil || m.frozen == 0 {
		t.Skip("not frozen, or by the clock")
	}
	if err := m.rdb.HSet(t.Context(), m.pool.store.keys.gen(), "frozen", "0").Err(); err != nil {
		t.Fatal(err)
	}
	m.frozen = 0
	for _, h := range m.holders {
		if h.state != "live" || h.seq < h.answered {
			h.until = 0
		}
	}
}

// Resync lets a holder say what it holds, whether that is called for or not.
func (m *machine) Resync(t *rapid.T) {
	id, h := m.caller(t)
	var holds, not []release
	for account, token := range h.own {
		holds = append(holds, release{id: account, role: m.role[account], token: token})
	}
	for account, token := range h.held {
		if _, own := h.own[account]; !own {
			not = append(not, release{id: account, role: m.role[account], token: token})
		}
	}
	part := rapid.IntRange(0, len(holds)).Draw(t, "first part")
	lost, err := m.pool.store.resync(t.Context(), id, "name", h.answered, false, m.pool.settings, holds[:part], nil)
	if h.state != "live" {
		want(t, "resync of a holder that is "+h.state, err, errGone)
		h.gone()
		return
	}
	want(t, "resync", err, nil)
	more, err := m.pool.store.resync(t.Context(), id, "name", h.answered, true, m.pool.settings, holds[part:], not)
	want(t, "the rest of resync", err, nil)
	lost = append(lost, more...)

	var expect []string
	for account, token := range h.own {
		_, held := h.held[account]
		_, free := m.free[account]
		c := m.counts[m.role[account]]
		switch {
		case held:
			h.held[account] = token
		case free && m.isFrozen():
			delete(m.free, account)
			h.held[account] = token
			c.Leased++
			c.Leases++
		default:
			expect = append(expect, account)
		}
	}
	for _, r := range not {
		delete(h.held, r.id)
		m.givenBack(r.id)
		m.counts[r.role].Leased--
		m.counts[r.role].Releases++
	}
	slices.Sort(lost)
	slices.Sort(expect)
	if !slices.Equal(lost, expect) {
		t.Fatalf("lost: got %v, want %v", lost, expect)
	}
	for _, account := range lost {
		delete(h.own, account)
	}
	h.seq = h.answered
	h.again = func(*rapid.T) {}
}

// Check compares all of Redis with all of the model.
func (m *machine) Check(t *rapid.T) {
	if report, err := m.pool.Audit(t.Context()); err != nil || report.Found > 0 {
		t.Fatalf("audit: %q, %v", report.Problems, err)
	}
	users := map[string]string{}
	for id, h := range m.holders {
		if m.trusts(h) {
			for account := range h.own {
				if other := users[account]; other != "" {
					t.Fatalf("account %s is used by %s and by %s", account, other, id)
				}
				users[account] = id
			}
		}
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
		expect.Known, expect.Created = 4, 4
		for _, n := range m.want[got.Role] {
			expect.Waiting += n
		}
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
		"close blind": m.CloseBlind, "retire": m.Retire, "revoke": m.Revoke,
		"save": m.Save, "crash": m.Crash, "thaw": m.Thaw, "resync": m.Resync, "outage": m.Outage,
	}
}

func TestScriptsKeepToTheModel(t *testing.T) {
	t.Parallel()
	real := map[string]func(testing.TB) (redis.UniversalClient, string){"redis": redistest.Real, "cluster": redistest.Cluster}
	for name, server := range real {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, _ := server(t)
			rapid.Check(t, func(t *rapid.T) {
				t.Repeat(newMachine(t, rdb, clock{}).actions())
			})
		})
	}
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

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Context() context.Context
	Fatal(...any)
	Fatalf(string, ...any)
}

// snapshot returns what puts the keys back to what they are now, one by one when
// nobody else looks.
func snapshot(t tester, rdb redis.UniversalClient, alone bool, keys []string) func(tester) {
	ctx := t.Context()
	var steps []func(context.Context, redis.Cmdable) error
	for _, key := range keys {
		kind, err := rdb.Type(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		var put func(context.Context, redis.Cmdable) error
		switch kind {
		case "hash":
			var all map[string]string
			all, err = rdb.HGetAll(ctx, key).Result()
			put = func(ctx context.Context, c redis.Cmdable) error { return c.HSet(ctx, key, all).Err() }
		case "zset":
			var all []redis.Z
			all, err = rdb.ZRangeWithScores(ctx, key, 0, -1).Result()
			put = func(ctx context.Context, c redis.Cmdable) error { return c.ZAdd(ctx, key, all...).Err() }
		case "set":
			var all []string
			all, err = rdb.SMembers(ctx, key).Result()
			put = func(ctx context.Context, c redis.Cmdable) error { return c.SAdd(ctx, key, all).Err() }
		case "string":
			var text string
			text, err = rdb.Get(ctx, key).Result()
			put = func(ctx context.Context, c redis.Cmdable) error { return c.Set(ctx, key, text, 0).Err() }
		case "none":
			continue
		}
		if err != nil || put == nil {
			t.Fatalf("read %s of type %s: %v", key, kind, err)
		}
		steps = append(steps, put)
	}
	put := func(ctx context.Context, c redis.Cmdable) error {
		if err := c.Del(ctx, keys...).Err(); err != nil {
			return err
		}
		for _, put := range steps {
			if err := put(ctx, c); err != nil {
				return err
			}
		}
		return nil
	}
	return func(t tester) {
		var err error
		if alone {
			err = put(t.Context(), rdb) // a pipe would block on more than one command
		} else {
			// At once, or somebody would find no pool.
			_, err = rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error { return put(t.Context(), p) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
