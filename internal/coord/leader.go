package coord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// LeaderTTL is how long a leader's lease lives without being renewed.
const LeaderTTL = 3 * time.Second

// watchEvery is how often a candidate looks whether the leader is alive.
const watchEvery = 300 * time.Millisecond

// comeback is how long a standby that has not reached Redis leaves an expired lease
// alone: the leader was probably cut off as well, and renews it when it is back. Its
// calls end within this time.
const comeback = LeaderTTL

// nobody is an epoch that no leader has reached: who knows of it takes no lease.
const nobody = 1 << 53

// LeaderConfig says who wants to lead which swarm. Redis and Swarm must be set.
type LeaderConfig struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
	// Standby makes Campaign wait for as long as another leads.
	Standby bool
	// Watch, if set, is called while another leads, after each look.
	Watch func()
}

// Leader is a master's part of the protocol. It is for one goroutine at a time.
// Its writes return ErrDeposed once another leader has taken over, and Renew
// ErrEmptied when Redis has lost what it knew.
type Leader struct {
	cfg LeaderConfig
	// id is of this leader alone, in all of time, so scripts know its writes by
	// it: Redis may lose an epoch and give it again.
	id    string
	epoch int64
	keys  keys
	plan  int64 // the newest version of a plan that it knows of
}

// Campaign takes the leader's lease. While another leader's lease is alive it
// watches: ErrLed as soon as that lease was renewed, since then somebody is
// alive (a standby watches on); leadership as soon as it has run out. A Redis
// that does not answer ends a campaign, but not a standby's once it has answered; when
// it answers again the standby gives a leader that lives comeback to renew first. It is ErrEmptied if Redis no longer knows of the leader that was watched: there
// is nothing to take over.
func Campaign(ctx context.Context, cfg LeaderConfig) (*Leader, error) {
	l := &Leader{cfg: cfg, id: uuid.NewString(), keys: newKeys(cfg.Namespace, cfg.Swarm)}
	seen := int64(-1) // until when the other's lease lasted when first looked at
	newest := int64(0)
	var looking time.Time // until when it only looks; zero when it would take the lease
	for {
		ask := newest
		if time.Now().Before(looking) {
			ask = nobody
		}
		term, err := l.campaign(ctx, 0, ask)
		switch {
		case err != nil && (!cfg.Standby || seen < 0):
			return nil, fmt.Errorf("lead swarm %s: %w", cfg.Swarm, err)
		case err != nil:
			term.remaining = watchEvery // and then it is asked again
			looking = time.Now().Add(comeback)
		case term.led:
			l.epoch = term.epoch
			return l, nil
		case term.epoch < newest:
			return nil, fmt.Errorf("lead swarm %s: %w", cfg.Swarm, ErrEmptied)
		case seen >= 0 && term.until != seen && !cfg.Standby:
			return nil, ErrLed
		default:
			seen, newest = term.until, term.epoch
			if cfg.Watch != nil {
				cfg.Watch()
			}
		}
		wait := min(term.remaining+10*time.Millisecond, watchEvery)
		if time.Now().Before(looking) {
			wait = watchEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// term is who leads, as a campaign finds it.
type term struct {
	led   bool  // by the caller
	epoch int64 // the newest; 0 if Redis knows of none
	// Of another's lease: until when, in ms of Redis's clock, and what remains.
	until     int64
	remaining time.Duration
}

// campaign takes the lease, or renews that of an epoch. It takes none in a Redis
// that knows of no leader as new as the newest.
func (l *Leader) campaign(ctx context.Context, epoch, newest int64) (term, error) {
	reply, err := campaignScript.Run(ctx, l.cfg.Redis, []string{l.keys.leader()}, l.id, epoch, LeaderTTL.Milliseconds(), newest).Int64Slice()
	if err != nil {
		return term{}, err
	}
	switch {
	case len(reply) == 2 && reply[0] == 1:
		return term{led: true, epoch: reply[1]}, nil
	case len(reply) == 4:
		return term{epoch: reply[1], until: reply[2], remaining: time.Duration(reply[3]) * time.Millisecond}, nil
	}
	return term{}, fmt.Errorf("%w: %v", errReply, reply)
}

// Epoch is the leader's fencing number: higher than that of every leader before.
func (l *Leader) Epoch() int64 { return l.epoch }

// Renew keeps the lease for another LeaderTTL.
func (l *Leader) Renew(ctx context.Context) error {
	term, err := l.campaign(ctx, l.epoch, l.epoch)
	switch {
	case err != nil:
		return fmt.Errorf("renew the master's lease: %w", err)
	case term.led:
		return nil
	case term.epoch < l.epoch:
		return ErrEmptied
	}
	return ErrDeposed
}

// Resign gives the lease back, so that the next master need not wait.
func (l *Leader) Resign(ctx context.Context) error {
	if err := resignScript.Run(ctx, l.cfg.Redis, []string{l.keys.leader()}, l.id).Err(); err != nil {
		return fmt.Errorf("give the master's lease back: %w", err)
	}
	return nil
}

// Begin begins a run with its first plan and drops the run before. It returns
// the plan's version.
func (l *Leader) Begin(ctx context.Context, run Run, plan Plan) (int64, error) {
	body, err := l.encodePlan(plan)
	if err != nil {
		return 0, err
	}
	k := l.keys
	return l.planned(l.fenced("begin run", beginScript.Run(ctx, l.cfg.Redis,
		[]string{k.leader(), k.run(), k.plan(), k.slots(), k.stats(), k.saved()},
		l.id, run.ID, Protocol, run.Spec, body, k.nudge(), l.plan)))
}

// Publish replaces the plan and returns its version.
func (l *Leader) Publish(ctx context.Context, plan Plan) (int64, error) {
	body, err := l.encodePlan(plan)
	if err != nil {
		return 0, err
	}
	return l.planned(l.fenced("publish plan", publishScript.Run(ctx, l.cfg.Redis,
		[]string{l.keys.leader(), l.keys.plan()}, l.id, body, l.keys.nudge(), l.plan)))
}

// planned remembers the version of a plan. The next one has a higher, also if
// Redis loses this one: members may know it.
func (l *Leader) planned(version int64, err error) (int64, error) {
	l.plan = max(l.plan, version)
	return version, err
}

func (l *Leader) encodePlan(plan Plan) ([]byte, error) {
	plan.Epoch = l.epoch
	body, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	return body, nil
}

// Assign replaces the assignment of slots to workers by that of a version, which
// is that of each of its sets.
func (l *Leader) Assign(ctx context.Context, version int64, slots map[string]*SlotSet) error {
	args := []any{l.id, l.keys.nudge(), version}
	for id, set := range slots {
		args = append(args, id, set.encode())
	}
	_, err := l.fenced("assign slots", assignScript.Run(ctx, l.cfg.Redis, []string{l.keys.leader(), l.keys.slots()}, args...))
	return err
}

// Assigned returns the assignment as it stands.
func (l *Leader) Assigned(ctx context.Context) (map[string]*SlotSet, error) {
	fields, err := l.cfg.Redis.HGetAll(ctx, l.keys.slots()).Result()
	if err != nil {
		return nil, fmt.Errorf("read slots: %w", err)
	}
	slots := make(map[string]*SlotSet, len(fields))
	for id, text := range fields {
		if slots[id], err = decodeSlots(text); err != nil {
			return nil, fmt.Errorf("read slots of %s: %w", id, err)
		}
	}
	return slots, nil
}

// fenced runs a write whose script answers -1 to a deposed leader.
func (l *Leader) fenced(what string, cmd *redis.Cmd) (int64, error) {
	n, err := cmd.Int64()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if n < 0 {
		return 0, fmt.Errorf("%s: %w", what, ErrDeposed)
	}
	return n, nil
}

// Present is a member as the roll finds it.
type Present struct {
	ID    string
	State State
	// Silent is how long ago, by Redis's clock, the member was last heard of.
	Silent time.Duration
}

// Roll is who is there.
type Roll struct {
	// Members are in order of their last heartbeat.
	Members []Present
	// Now is Redis's time.
	Now time.Time
	// Saved is the mark of what Redis has of the merged state; see Saved.
	Saved string
	// Plan and Slots are the versions of the plan and of the assignment that Redis
	// has: a Redis that has lost its last writes shows older ones.
	Plan, Slots int64
}

// Roll calls the roll.
func (l *Leader) Roll(ctx context.Context) (Roll, error) {
	reply, err := rollScript.Run(ctx, l.cfg.Redis, []string{l.keys.members(), l.keys.states(), l.keys.saved(), l.keys.plan(), l.keys.leader()}).Slice()
	if err != nil {
		return Roll{}, fmt.Errorf("call the roll: %w", err)
	}
	if len(reply) != 6 {
		return Roll{}, fmt.Errorf("%w: roll of %d fields", errReply, len(reply))
	}
	now, err1 := parseInt(reply[0])
	plan, err2 := parseInt(reply[4])
	slots, err3 := parseInt(reply[5])
	if err := errors.Join(err1, err2, err3); err != nil {
		return Roll{}, err
	}
	scores, _ := reply[1].([]any)
	fields, _ := reply[2].([]any)
	states := make(map[string]string, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		id, _ := fields[i].(string)
		states[id], _ = fields[i+1].(string)
	}
	members := make([]Present, 0, len(scores)/2)
	for i := 0; i+1 < len(scores); i += 2 {
		p := Present{}
		p.ID, _ = scores[i].(string)
		text, _ := scores[i+1].(string)
		last, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return Roll{}, fmt.Errorf("%w: last heartbeat %q", errReply, text)
		}
		p.Silent = time.Duration(now-int64(last)) * time.Millisecond
		if err := json.Unmarshal([]byte(states[p.ID]), &p.State); err != nil {
			return Roll{}, fmt.Errorf("state of member %s: %w", p.ID, err)
		}
		members = append(members, p)
	}
	mark, _ := reply[3].(string)
	return Roll{Members: members, Now: time.UnixMilli(now), Saved: mark, Plan: plan, Slots: slots}, nil
}

// Remove takes members off the roll that have been silent for long. One that
// is alive comes back with its next heartbeat.
func (l *Leader) Remove(ctx context.Context, ids ...string) error {
	args := []any{l.id}
	for _, id := range ids {
		args = append(args, id)
	}
	k := l.keys
	_, err := l.fenced("remove members", removeScript.Run(ctx, l.cfg.Redis, []string{k.leader(), k.members(), k.states()}, args...))
	return err
}

// Read returns up to limit entries of the stream behind a position ("" for the
// beginning). An entry that cannot be read is returned with only its ID set, so
// that the position moves on; its reason is joined to the error.
func (l *Leader) Read(ctx context.Context, after string, limit int64) ([]Entry, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	messages, err := l.cfg.Redis.XRangeN(ctx, l.keys.stats(), from, "+", limit).Result()
	if err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	entries := make([]Entry, 0, len(messages))
	var problems []error
	for _, message := range messages {
		entry, err := decodeEntry(message.ID, message.Values)
		if err != nil {
			problems = append(problems, err)
			entry = Entry{ID: message.ID}
		}
		entries = append(entries, entry)
	}
	return entries, errors.Join(problems...)
}

// Saved is the merged state of a run with the place in the stream up to which
// it reaches.
type Saved struct {
	Run  string
	Body []byte
	// Position is the ID of the last entry that was read; "" for none.
	Position string
	// Numbers holds the last merged number of each member.
	Numbers map[string]int64
	// Mark tells one save from another: a Redis that has lost its last writes
	// shows an older one. A leader never uses a mark twice.
	Mark string
}

// Save saves the merged state and trims the stream behind it.
func (l *Leader) Save(ctx context.Context, s Saved) error {
	args := []any{l.id, s.Run, s.Body, s.Position, s.Mark}
	for id, number := range s.Numbers {
		args = append(args, id, number)
	}
	k := l.keys
	_, err := l.fenced("save statistics", saveScript.Run(ctx, l.cfg.Redis, []string{k.leader(), k.saved(), k.stats(), k.relayed()}, args...))
	return err
}

// Peek is Load for somebody who does not lead.
func Peek(ctx context.Context, cfg LeaderConfig) (Run, Plan, Saved, error) {
	return (&Leader{cfg: cfg, keys: newKeys(cfg.Namespace, cfg.Swarm)}).Load(ctx)
}

// Load returns what a leader before has left: the run, its plan and what was
// saved of it. Run.ID is empty when there was none.
func (l *Leader) Load(ctx context.Context) (Run, Plan, Saved, error) {
	pipe := l.cfg.Redis.Pipeline()
	runCmd := pipe.HGetAll(ctx, l.keys.run())
	planCmd := pipe.HGetAll(ctx, l.keys.plan())
	savedCmd := pipe.HGetAll(ctx, l.keys.saved())
	if _, err := pipe.Exec(ctx); err != nil {
		return Run{}, Plan{}, Saved{}, fmt.Errorf("load run: %w", err)
	}
	fields := runCmd.Val()
	if len(fields) == 0 {
		return Run{}, Plan{}, Saved{}, nil
	}
	protocol, err1 := parseInt(fields["protocol"])
	started, err2 := parseInt(fields["started"])
	run := Run{ID: fields["id"], Protocol: int(protocol), Spec: []byte(fields["spec"]), Started: time.UnixMicro(started)}

	var plan Plan
	err3 := json.Unmarshal([]byte(planCmd.Val()["body"]), &plan)
	version, err4 := parseInt(planCmd.Val()["version"])
	plan.Version = version
	l.plan = max(l.plan, version)

	saved := Saved{Run: run.ID, Numbers: make(map[string]int64)}
	var problems []error
	for field, text := range savedCmd.Val() {
		switch field {
		case "run":
		case "body":
			saved.Body = []byte(text)
		case "pos":
			saved.Position = text
		case "mark":
			saved.Mark = text
		default:
			if id, ok := strings.CutPrefix(field, "n:"); ok {
				n, err := parseInt(text)
				problems = append(problems, err)
				saved.Numbers[id] = n
			}
		}
	}
	err := errors.Join(append(problems, err1, err2, err3, err4)...)
	if err != nil {
		err = fmt.Errorf("load run: %w", err)
	}
	return run, plan, saved, err
}
