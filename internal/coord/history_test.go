package coord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
)

// The protocol against a model: random histories of masters that lead, are deposed
// and go on writing, of members whose heartbeats and answers are lost, and of a
// Redis that loses its last writes. Members make their heartbeats when the history
// says so, which covers every nudge that is heard, late or lost.

// histClock moves time on the server, which is not to pass by itself. On a real server
// it does: there a lease is long, and is made to run out.
type histClock interface {
	pass(t *rapid.T, d time.Duration)
	expire(t *rapid.T, leader string)
}

// histMaster is a master as the protocol's doc comment wants it to be.
type histMaster struct {
	*Leader
	name  int
	plan  Plan
	slots int64 // version of its newest assignment
	saved Saved
	state histState
	saves int
	over  bool // Redis has lost what it knew
}

// histState is the merged state, which is saved.
type histState struct {
	Total int64 // operations merged
	Lost  int64 // reports that nobody has any more
}

// histMember is a member with what a network that loses answers lies between.
type histMember struct {
	*Member
	faults *redistest.Faults
	sent   int64 // reports of this run, of one operation each
	saved  int64 // the highest number that was ever saved
}

// histRedis is what the model says that Redis knows.
type histRedis struct {
	leader int // name of the master; -1 for none
	epoch  int64
	alive  bool // its lease is
	run    string
}

type history struct {
	rdb       redis.UniversalClient
	namespace string
	clock     histClock
	redis     histRedis
	masters   []*histMaster
	members   []*histMember
	gone      int64 // reports of members that have left, unsaved
	runs      int
	snap      func(t *rapid.T) // sets Redis and the model back; nil if there is none
	snapAt    time.Time        // when it was made, by Redis's clock
}

// parts is into how many parts slots are shared in a history: slots that are equal
// modulo parts go together.
const parts = 4

func (h *history) ctx() context.Context { return context.Background() }

func newHistory(t *rapid.T, rdb redis.UniversalClient, clock histClock) *history {
	h := &history{rdb: rdb, namespace: "history-" + uuid.NewString(), clock: clock, redis: histRedis{leader: -1}}
	h.join()
	h.join()
	h.Campaign(t)
	h.Begin(t)
	return h
}

func (h *history) key(name string) string { return h.namespace + ":{swarm:s}:" + name }

var histKeys = []string{"leader", "run", "plan", "slots", "saved", "states"}

// contents is what Redis has, for comparison.
func (h *history) contents(t *rapid.T) string {
	text := ""
	for _, name := range histKeys {
		all, err := h.rdb.HGetAll(h.ctx(), h.key(name)).Result()
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprint(name, all) // maps print in order
	}
	return text
}

func (h *history) join() {
	faults := new(redistest.Faults)
	m := &histMember{faults: faults}
	rdb := redis.UniversalClient(h.rdb)
	switch server := h.rdb.(type) {
	case *redis.Client:
		opt := *server.Options()
		client := redis.NewClient(&opt)
		client.AddHook(faults)
		rdb = client
	}
	m.Member = NewMember(MemberConfig{Redis: rdb, Namespace: h.namespace, Swarm: "s"})
	h.members = append(h.members, m)
}

// master draws one that has not ended.
func (h *history) master(t *rapid.T) *histMaster {
	var alive []*histMaster
	for _, m := range h.masters {
		if !m.over {
			alive = append(alive, m)
		}
	}
	if len(alive) == 0 {
		t.Skip("no master is left")
	}
	return rapid.SampledFrom(alive).Draw(t, "master")
}

func (h *history) member(t *rapid.T) *histMember {
	return rapid.SampledFrom(h.members).Draw(t, "member")
}

// Campaign is of somebody new.
func (h *history) Campaign(t *rapid.T) {
	l := &Leader{cfg: LeaderConfig{Redis: h.rdb, Namespace: h.namespace, Swarm: "s"}, id: uuid.NewString(), keys: newKeys(h.namespace, "s")}
	got, err := l.campaign(h.ctx(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.led == h.redis.alive {
		t.Fatalf("a campaign is won: %v, and the lease of another lives: %v", got.led, h.redis.alive)
	}
	if !got.led {
		return
	}
	if got.epoch != h.redis.epoch+1 {
		t.Fatalf("epoch %d after %d", got.epoch, h.redis.epoch)
	}
	l.epoch = got.epoch
	m := &histMaster{Leader: l, name: len(h.masters)}
	h.masters = append(h.masters, m)
	h.redis.leader, h.redis.epoch, h.redis.alive = m.name, got.epoch, true

	// It takes up what there is.
	run, plan, saved, err := l.Load(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if run.ID != h.redis.run {
		t.Fatalf("run %q in Redis, want %q", run.ID, h.redis.run)
	}
	roll, err := l.Roll(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	m.plan, m.saved, m.slots = plan, saved, roll.Slots
	if m.saved.Numbers == nil {
		m.saved.Numbers = map[string]int64{}
	}
	if len(saved.Body) > 0 {
		if err := json.Unmarshal(saved.Body, &m.state); err != nil {
			t.Fatal(err)
		}
	}
	m.saved.Mark = "" // its own, of which there is none yet
}

// write makes a master write. It is to be done if it leads, and else refused
// without a trace.
func (h *history) write(t *rapid.T, m *histMaster, what string, write func() error) (done bool) {
	leads := h.redis.leader == m.name
	before := ""
	if !leads {
		before = h.contents(t)
	}
	err := write()
	switch {
	case leads && err != nil:
		t.Fatalf("%s of the leader: %v", what, err)
	case !leads && !errors.Is(err, ErrDeposed):
		t.Fatalf("%s of a master that does not lead: %v, want ErrDeposed", what, err)
	case !leads && h.contents(t) != before:
		t.Fatalf("%s of a master that does not lead has changed what Redis has", what)
	}
	return leads
}

// Begin begins a run.
func (h *history) Begin(t *rapid.T) {
	m := h.master(t)
	h.runs++
	run := fmt.Sprint("run-", h.runs)
	plan := Plan{Run: run, Phase: PhaseRunning, SpawnRate: 1}
	done := h.write(t, m, "begin", func() error {
		version, err := m.Begin(h.ctx(), Run{ID: run}, plan)
		if err == nil && version <= m.plan.Version {
			t.Fatalf("plan version %d after %d", version, m.plan.Version)
		}
		plan.Version = version
		return err
	})
	if !done {
		return
	}
	h.redis.run = run
	m.plan, m.slots, m.state, m.saved = plan, 0, histState{}, Saved{Run: run, Numbers: map[string]int64{}}
	h.gone, h.snap = 0, nil // histories in which Redis forgets a run are another matter
	for _, member := range h.members {
		h.beat(t, member) // nobody takes slots of a run that he does not know
		member.sent, member.saved = 0, 0
	}
}

// Publish publishes a plan that can be told from all others.
func (h *history) Publish(t *rapid.T) {
	m := h.master(t)
	plan := m.plan
	plan.SpawnRate = float64(rapid.IntRange(1, 1<<40).Draw(t, "spawn rate"))
	done := h.write(t, m, "publish", func() error {
		version, err := m.Publish(h.ctx(), plan)
		if err == nil && version <= m.plan.Version {
			t.Fatalf("plan version %d after %d", version, m.plan.Version)
		}
		plan.Version = version
		return err
	})
	if done {
		m.plan = plan
	}
}

// Assign gives each part of the slots to some member.
func (h *history) Assign(t *rapid.T) {
	m := h.master(t)
	version := m.slots + 1
	sets := make(map[string]*SlotSet)
	for part := range parts {
		id := h.member(t).id
		if sets[id] == nil {
			sets[id] = &SlotSet{Version: version}
		}
		sets[id].Add(part)
	}
	if h.write(t, m, "assign", func() error { return m.Assign(h.ctx(), version, sets) }) {
		m.slots = version
	}
}

// Round is what a master does twice a second: it renews, puts back what Redis has
// lost, merges and saves.
func (h *history) Round(t *rapid.T) {
	m := h.master(t)
	h.round(t, m)
}

func (h *history) round(t *rapid.T, m *histMaster) {
	err := m.Renew(h.ctx())
	switch {
	case h.redis.leader == m.name:
		if err != nil {
			t.Fatalf("the leader's renewal: %v", err)
		}
		h.redis.alive = true
	case h.redis.epoch < m.epoch:
		if !errors.Is(err, ErrEmptied) {
			t.Fatalf("renewal of epoch %d where %d is the newest: %v, want ErrEmptied", m.epoch, h.redis.epoch, err)
		}
		m.over = true
		return
	default:
		if !errors.Is(err, ErrDeposed) {
			t.Fatalf("renewal of a deposed leader: %v", err)
		}
		// It goes on all the same, as one whose round was under way.
	}
	roll, err := m.Roll(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	lostSave := m.saved.Mark != "" && m.saved.Mark != roll.Saved
	leads := h.redis.leader == m.name
	if leads && roll.Plan != m.plan.Version {
		if roll.Plan > m.plan.Version {
			t.Fatalf("Redis has plan %d, and its leader's newest is %d", roll.Plan, m.plan.Version)
		}
		version, err := m.Publish(h.ctx(), m.plan)
		if err != nil || version <= m.plan.Version {
			t.Fatalf("publish again: %d after %d, %v", version, m.plan.Version, err)
		}
		m.plan.Version = version
	}
	if leads && roll.Slots < m.slots {
		m.slots++
		if err := m.Assign(h.ctx(), m.slots, nil); err != nil {
			t.Fatal(err)
		}
	}
	h.merge(t, m)
	if !lostSave && rapid.Bool().Draw(t, "save later") {
		return
	}
	if rapid.Bool().Draw(t, "something comes in") {
		h.Beat(t)
	}
	h.save(t, m)
}

// merge merges by the rule: the next number, or one whose member has none before it.
func (h *history) merge(t *rapid.T, m *histMaster) {
	entries, err := m.Read(h.ctx(), m.saved.Position, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		m.saved.Position = e.ID
		next := m.saved.Numbers[e.Member] + 1
		if e.Run != m.plan.Run || e.Number < next || e.Number > next && e.Number > e.Oldest {
			continue
		}
		if h.redis.leader == m.name {
			h.expectLost(t, e.Member, next, e.Number)
		}
		m.state.Lost += e.Number - next
		m.saved.Numbers[e.Member] = e.Number
		m.state.Total += e.Report.Operations[0].Count
	}
}

// expectLost checks that a member does not have the reports from one number up to
// another any more.
func (h *history) expectLost(t *rapid.T, id string, from, to int64) {
	for _, member := range h.members {
		member.outbox.mu.Lock()
		for _, k := range member.outbox.kept {
			if member.id == id && from <= k.number && k.number < to {
				t.Fatalf("report %d counts as lost, and its member has it", k.number)
			}
		}
		member.outbox.mu.Unlock()
	}
}

// unread are the ids of what is in the stream behind a position.
func (h *history) unread(t *rapid.T, m *histMaster) (ids []string) {
	entries, err := m.Read(h.ctx(), m.saved.Position, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func (h *history) save(t *rapid.T, m *histMaster) {
	unread := h.unread(t, m)
	defer func() {
		if got := h.unread(t, m); !slices.Equal(got, unread) {
			t.Fatalf("after saving the stream has %v behind it, before it had %v", got, unread)
		}
	}()
	body, err := json.Marshal(m.state)
	if err != nil {
		t.Fatal(err)
	}
	s := m.saved
	m.saves++
	s.Run, s.Body, s.Mark = m.plan.Run, body, fmt.Sprintf("%d.%d.%d", m.epoch, m.name, m.saves)
	if !h.write(t, m, "save", func() error { return m.Save(h.ctx(), s) }) {
		return
	}
	m.saved = s
	for _, member := range h.members {
		member.saved = max(member.saved, s.Numbers[member.id])
	}
}

// Resign gives a lease back, whoever has it.
func (h *history) Resign(t *rapid.T) {
	m := h.master(t)
	if err := m.Resign(h.ctx()); err != nil {
		t.Fatal(err)
	}
	if h.redis.leader == m.name {
		h.redis.alive = false
		h.beatAll(t) // it takes longer until another leads
	}
}

// Strike takes a member off the roll; it comes back with its next heartbeat.
func (h *history) Strike(t *rapid.T) {
	m, member := h.master(t), h.member(t)
	h.write(t, m, "remove", func() error { return m.Remove(h.ctx(), member.id) })
}

// Expire lets the leader's lease run out.
func (h *history) Expire(t *rapid.T) {
	h.clock.expire(t, h.key("leader"))
	h.redis.alive = false
	h.beatAll(t) // one a second, and a lease lasts for three
}

// Report has a member count something.
func (h *history) Report(t *rapid.T) {
	member := h.member(t)
	if member.View().Run.ID != h.redis.run || member.sent >= maxKept/2 {
		t.Skip("it knows no run, or has enough")
	}
	err := member.outbox.add(h.redis.run, Report{Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	member.sent++
}

// Beat is a heartbeat with its reports. Answers of either may be lost.
func (h *history) Beat(t *rapid.T) {
	member := h.member(t)
	lost := rapid.IntRange(0, 3).Draw(t, "answers that are lost")
	fault := (*redistest.Fault)(nil)
	if lost > 0 && h.faulty() {
		skip := rapid.IntRange(0, 3).Draw(t, "after")
		fault = member.faults.LoseReplies(lost, func(redis.Cmder) bool { skip--; return skip < 0 })
	}
	_ = errors.Join(member.sendReports(h.ctx()), member.beat(h.ctx(), State{Kind: KindWorker}))
	if fault != nil {
		fault.Lift()
	}
}

// faulty says that answers can be lost here: a Cluster's client repeats by itself.
func (h *history) faulty() bool { _, one := h.rdb.(*redis.Client); return one }

func (h *history) beat(t *rapid.T, member *histMember) {
	if err := errors.Join(member.sendReports(h.ctx()), member.beat(h.ctx(), State{Kind: KindWorker})); err != nil {
		t.Fatal(err)
	}
}

func (h *history) beatAll(t *rapid.T) {
	for _, member := range h.members {
		h.beat(t, member)
	}
}

// Resend is what a member does when nothing of what it has sent gets saved.
func (h *history) Resend(t *rapid.T) { h.member(t).outbox.resend() }

// Leave ends a member, which has nothing left to report, and another comes.
func (h *history) Leave(t *rapid.T) {
	i := rapid.IntRange(0, len(h.members)-1).Draw(t, "who")
	member := h.members[i]
	if member.Unsaved() > 0 || member.saved < member.sent {
		t.Skip("it waits until all is saved")
	}
	if err := leaveScript.Run(h.ctx(), h.rdb, []string{h.key("members"), h.key("states")}, member.id).Err(); err != nil {
		t.Fatal(err)
	}
	h.gone, h.snap = h.gone+member.sent, nil // what it had saved as it left, nobody can send again
	h.members = append(h.members[:i:i], h.members[i+1:]...)
	h.join()
}

// Snapshot remembers how Redis is, for a crash later on.
func (h *history) Snapshot(t *rapid.T) {
	model := h.redis
	hashes := make(map[string]map[string]string)
	for _, name := range histKeys {
		hashes[name] = h.rdb.HGetAll(h.ctx(), h.key(name)).Val()
	}
	entries := h.rdb.XRange(h.ctx(), h.key("stats"), "-", "+").Val()
	h.snapAt = h.rdb.Time(h.ctx()).Val()
	h.snap = func(t *rapid.T) {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		for name, all := range hashes {
			must(h.rdb.Del(h.ctx(), h.key(name)).Err())
			if len(all) > 0 {
				must(h.rdb.HSet(h.ctx(), h.key(name), all).Err())
			}
		}
		must(h.rdb.Del(h.ctx(), h.key("stats"), h.key("members")).Err())
		for _, e := range entries {
			must(h.rdb.XAdd(h.ctx(), &redis.XAddArgs{Stream: h.key("stats"), ID: e.ID, Values: e.Values}).Err())
		}
		h.redis = model
	}
}

// Crash sets Redis back, by less than members keep what is saved. It takes a while until
// it is up again. If the lease has run out by then, members are heard of before another
// leads.
func (h *history) Crash(t *rapid.T) {
	if h.snap == nil || h.rdb.Time(h.ctx()).Val().Sub(h.snapAt) >= keepSaved {
		t.Skip("nothing to go back to")
	}
	h.snap(t)
	h.snap = nil
	h.clock.pass(t, time.Second)
	until, err := h.rdb.HGet(h.ctx(), h.key("leader"), "until").Int64()
	if err != nil {
		t.Fatal(err)
	}
	h.redis.alive = until > h.rdb.Time(h.ctx()).Val().UnixMilli()
	if !h.redis.alive {
		h.beatAll(t)
	}
}

// Check looks for what must always hold.
func (h *history) Check(t *rapid.T) {
	owners := make(map[string]string)
	for _, member := range h.members {
		view := member.View()
		for part := range parts {
			if !view.Slots.Has(part) {
				continue
			}
			slot := fmt.Sprint(view.Slots.Version, "/", part)
			if other := owners[slot]; other != "" && view.Run.ID == h.redis.run {
				t.Fatalf("members %s and %s both have slot %d of version %d", other, member.id, part, view.Slots.Version)
			}
			owners[slot] = member.id
		}
		// What is not saved is kept: all numbers after the saved ones.
		if view.Run.ID != h.redis.run {
			continue
		}
		member.outbox.mu.Lock()
		next := member.outbox.last + 1
		for i := len(member.outbox.kept) - 1; i >= 0; i-- {
			if next--; member.outbox.kept[i].number != next {
				t.Fatalf("report %d is kept where %d should be", member.outbox.kept[i].number, next)
			}
		}
		member.outbox.mu.Unlock()
		if next-1 > member.saved {
			t.Fatalf("reports up to %d are forgotten, and only those up to %d were ever saved", next-1, member.saved)
		}
	}
}

// settle lets everything arrive and checks the sums.
func (h *history) settle(t *rapid.T) {
	h.clock.expire(t, h.key("leader"))
	h.redis.alive = false
	h.beatAll(t)
	h.Campaign(t)
	m := h.masters[len(h.masters)-1]
	for range 10 { // twenty reports go with one heartbeat
		for _, member := range h.members {
			member.outbox.resend()
			h.beat(t, member)
		}
		h.merge(t, m)
		h.save(t, m)
	}
	h.beatAll(t)
	sent := h.gone
	for _, member := range h.members {
		sent += member.sent
		if n := member.Unsaved(); n > 0 {
			t.Fatalf("%d reports are kept after everything has arrived", n)
		}
		if view := member.View(); view.Plan.Version != m.plan.Version || view.Plan.SpawnRate != m.plan.SpawnRate || view.Plan.Epoch > m.epoch {
			t.Fatalf("a member goes by plan %+v, and the leader by %+v", view.Plan, m.plan)
		}
	}
	assigned, err := m.Assigned(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range h.members {
		if got, want := member.View().Slots, assigned[member.id]; (got == nil) != (want == nil) || got != nil && (got.Version != want.Version || !slices.Equal(got.list, want.list)) {
			t.Fatalf("a member has slots %+v, and was assigned %+v", got, want)
		}
	}
	if m.state.Total+m.state.Lost != sent {
		t.Fatalf("%d operations were sent; %d are merged, and of %d it is known that they are lost", sent, m.state.Total, m.state.Lost)
	}
}

// play plays one history.
func play(t *rapid.T, rdb redis.UniversalClient, clock histClock) {
	h := newHistory(t, rdb, clock)
	defer func() {
		for _, member := range h.members {
			if h.faulty() {
				_ = member.cfg.Redis.Close()
			}
		}
	}()
	t.Repeat(map[string]func(*rapid.T){
		"": h.Check, "campaign": h.Campaign, "begin": h.Begin, "publish": h.Publish, "assign": h.Assign,
		"round": h.Round, "another round": h.Round, "resign": h.Resign, "strike": h.Strike, "expire": h.Expire,
		"report": h.Report, "another report": h.Report, "beat": h.Beat, "another beat": h.Beat, "resend": h.Resend,
		"leave": h.Leave, "snapshot": h.Snapshot, "crash": h.Crash,
	})
	h.settle(t)
}

// fakeTime is the clock of a server whose time is set.
type fakeTime struct {
	now time.Time
	set func(time.Time)
}

func (f *fakeTime) pass(_ *rapid.T, d time.Duration) { f.now = f.now.Add(d); f.set(f.now) }
func (f *fakeTime) expire(t *rapid.T, _ string)      { f.pass(t, LeaderTTL) }

// realTime is that of a real one. Histories are short beside a lease there.
type realTime struct{ rdb redis.UniversalClient }

// pass lets as much time pass as tells the ids of a stream from those before.
func (r realTime) pass(t *rapid.T, _ time.Duration) {
	began := r.rdb.Time(t.Context()).Val()
	for r.rdb.Time(t.Context()).Val().Sub(began) < 2*time.Millisecond {
	}
}

func (r realTime) expire(t *rapid.T, leader string) {
	if err := r.rdb.HSet(t.Context(), leader, "until", "0").Err(); err != nil {
		t.Fatal(err)
	}
}

// some plays so many histories at the most, and after one that fails as many as it
// takes to find the shortest that does.
func some(t *testing.T, most int, rdb redis.UniversalClient, clock histClock) {
	played, failed := 0, false
	rapid.Check(t, func(t *rapid.T) {
		if played++; played > most && !failed {
			return
		}
		passed := false
		defer func() { failed = failed || !passed }()
		play(t, rdb, clock)
		passed = true
	})
}

func TestHistories(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		server, rdb, _ := redistest.Piped(t)
		clock := &fakeTime{time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), server.SetTime}
		clock.pass(nil, 0)
		some(t, 50, rdb, clock)
	})
	// The same scripts: a few show that the servers agree.
	for name, server := range map[string]func(testing.TB) (redis.UniversalClient, string){"redis": redistest.Real, "cluster": redistest.Cluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, _ := server(t)
			some(t, 15, rdb, realTime{rdb})
		})
	}
}
