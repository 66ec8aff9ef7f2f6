package coord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

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

// Epoch is the leader's fencing number: higher than that of every leader before.
func (l *Leader) Epoch() int64 { return l.epoch }

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
