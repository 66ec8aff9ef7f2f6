package coord

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// numbersTTL is how long a holder keeps its numbers without a word.
	numbersTTL = 5 * time.Second
	// numbersLive is how long what belongs to a run outlives its last holder.
	numbersLive = time.Minute
	// takeAtOnce bounds the numbers that one call takes, anyAtOnce where they
	// may be of any class, and enterAtOnce those that it enters.
	takeAtOnce, anyAtOnce, enterAtOnce = 1000, 500, 4096
	// callsAtOnce bounds the calls of one Exchange; what is left is for the next.
	callsAtOnce = 12
)

// NumbersConfig says who takes user numbers in which run, and what they mean.
// All but Namespace must be set.
type NumbersConfig struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
	Run       string
	ID        string // of the holder
	// Classes is how many user classes there are, at most 200, and ClassOf
	// which of them, from 0, a number is: the same at every holder.
	Classes int
	ClassOf func(number int) int
	// Max is how many numbers all holders together may have.
	Max int
}

// Numbers hands out user numbers one holder at a time, where no plan and no slots
// say who runs whom: because somebody else says how many users each worker runs.
// It gives the lowest that are free. A holder that is not heard of for 5 s loses
// its numbers, at the earliest when another wants one. It is for one goroutine.
type Numbers struct {
	cfg  NumbersConfig
	keys keys
	held map[int]bool
	high int // numbers below are entered in Redis, as far as is known
	// unsure says that a call has failed, so Redis may have done more than is
	// known here.
	unsure bool
}

// NewNumbers returns a holder that has no number.
func NewNumbers(cfg NumbersConfig) *Numbers {
	return &Numbers{cfg: cfg, keys: newKeys(cfg.Namespace, cfg.Swarm), held: make(map[int]bool)}
}

// Take is how many more numbers a holder wants.
type Take struct {
	// Of is how many of each class; nil if it does not matter.
	Of []int
	// Any is how many of any class.
	Any int
}

func (t Take) left() int {
	n := t.Any
	for _, k := range t.Of {
		n += k
	}
	return n
}

// Exchange gives numbers back, keeps the others, and takes more. It returns the
// numbers taken, fewer than wanted if there may not be so many, and those that
// were lost because the holder was not heard of for too long. With an error,
// some may have been taken: the next Exchange returns them.
func (n *Numbers) Exchange(ctx context.Context, back []int, take Take) (taken, lost []int, err error) {
	take.Of = slices.Clone(take.Of)
	if n.unsure {
		if taken, err = n.findOut(ctx); err != nil {
			return nil, nil, err
		}
	}
	// What silent holders have is wanted only when something is.
	reply, err := n.exchange(ctx, back, Take{})
	if err != nil {
		return taken, nil, err
	}
	for _, number := range back {
		delete(n.held, number)
	}
	for _, number := range reply.lost {
		delete(n.held, number)
	}
	lost = reply.lost
	if take.left() > 0 {
		for _, id := range reply.lapsed {
			if err := n.reclaim(ctx, id, false); err != nil {
				return taken, lost, err
			}
		}
	}
	for calls := 0; calls < callsAtOnce && take.left() > 0; calls++ {
		high := n.high
		reply, err := n.exchange(ctx, nil, take)
		if err != nil {
			return taken, lost, err
		}
		for _, number := range reply.taken {
			n.held[number] = true
			if take.Of == nil {
				take.Any--
			} else {
				take.Of[n.cfg.ClassOf(number)]--
			}
		}
		taken = append(taken, reply.taken...)
		if len(reply.taken) == 0 && n.high == high {
			break // there are no more
		}
	}
	return taken, lost, nil
}

// findOut returns the numbers that the holder has without having known it.
func (n *Numbers) findOut(ctx context.Context) (found []int, err error) {
	members, err := n.cfg.Redis.ZRange(ctx, n.keys.numbersHeld(n.cfg.Run, n.cfg.ID), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read own user numbers: %w", err)
	}
	for _, member := range members {
		number, err := parseInt(member)
		if err != nil {
			return nil, err
		}
		if !n.held[int(number)] {
			n.held[int(number)] = true
			found = append(found, int(number))
		}
	}
	n.unsure = false
	return found, nil
}

// Leave gives everything back.
func (n *Numbers) Leave(ctx context.Context) error {
	clear(n.held)
	return n.reclaim(ctx, n.cfg.ID, true)
}

// exchanged is one answer of the script.
type exchanged struct {
	lapsed      []string
	taken, lost []int
}

func (n *Numbers) exchange(ctx context.Context, back []int, take Take) (exchanged, error) {
	reply, err := n.call(ctx, back, take, len(n.held) == 0)
	if err == nil && len(reply) == 1 { // not known there any more
		reply, err = n.call(ctx, back, take, true)
	}
	if err != nil {
		n.unsure = true
		return exchanged{}, fmt.Errorf("exchange user numbers: %w", err)
	}
	if len(reply) != 4 {
		return exchanged{}, fmt.Errorf("%w: numbers of %d fields", errReply, len(reply))
	}
	high, err := parseInt(reply[0])
	if err != nil {
		return exchanged{}, err
	}
	n.high = int(high)
	var e exchanged
	ids, _ := reply[1].([]any)
	for _, id := range ids {
		text, _ := id.(string)
		e.lapsed = append(e.lapsed, text)
	}
	if e.taken, err = ints(reply[2]); err != nil {
		return exchanged{}, err
	}
	e.lost, err = ints(reply[3])
	return e, err
}

func (n *Numbers) call(ctx context.Context, back []int, take Take, resume bool) ([]any, error) {
	k := n.keys
	keys := []string{k.numbersHigh(n.cfg.Run), k.numbersHolders(n.cfg.Run), k.numbersHeld(n.cfg.Run, n.cfg.ID)}
	args := []any{
		n.cfg.ID, numbersTTL.Milliseconds(), numbersLive.Milliseconds(), n.cfg.Max,
		n.high, n.enter(take), min(take.Any, anyAtOnce),
	}
	room := takeAtOnce
	for class := range n.cfg.Classes {
		keys = append(keys, k.numbersFree(n.cfg.Run, class))
		want := 0
		if take.Of != nil {
			want = min(take.Of[class], room)
			room -= want
		}
		args = append(args, want)
	}
	args = append(args, len(back))
	for _, number := range back {
		args = append(args, number)
	}
	if resume {
		args = append(args, 0, 0) // so that there is something
		for _, number := range slices.Sorted(maps.Keys(n.held)) {
			args = append(args, number, n.cfg.ClassOf(number)+1)
		}
	}
	return numbersScript.Run(ctx, n.cfg.Redis, keys, args...).Slice()
}

// enter returns the classes of the numbers behind the high-water mark, as many as
// it takes to find what is wanted if no other number is free.
func (n *Numbers) enter(take Take) string {
	want, any := slices.Clone(take.Of), take.Any
	left := take.left()
	var classes []byte
	for number := n.high; left > 0 && len(classes) < enterAtOnce; number++ {
		class := n.cfg.ClassOf(number)
		classes = append(classes, byte(class+1))
		switch {
		case any > 0:
			any--
			left--
		case want != nil && want[class] > 0:
			want[class]--
			left--
		}
	}
	return string(classes)
}

// reclaim frees what a holder has that leaves or has not been heard of.
func (n *Numbers) reclaim(ctx context.Context, id string, leaves bool) error {
	keys := []string{n.keys.numbersHolders(n.cfg.Run), n.keys.numbersHeld(n.cfg.Run, id)}
	for class := range n.cfg.Classes {
		keys = append(keys, n.keys.numbersFree(n.cfg.Run, class))
	}
	if err := reclaimScript.Run(ctx, n.cfg.Redis, keys, id, flag(leaves)).Err(); err != nil {
		return fmt.Errorf("free user numbers: %w", err)
	}
	return nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func ints(v any) ([]int, error) {
	list, _ := v.([]any)
	numbers := make([]int, 0, len(list))
	for _, item := range list {
		i, err := parseInt(item)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, int(i))
	}
	return numbers, nil
}

// rankTTL is how long a bridged worker is known without a word.
const rankTTL = 5 * time.Second

// Rank is a bridged worker's number among the bridged workers of a swarm.
type Rank struct {
	Number int
	// Lowest says that it is the lowest-numbered of those in touch with their
	// Locust master, or of all if none is.
	Lowest bool
	// Others is how many others are in touch.
	Others int
	// Led says that somebody leads the swarm.
	Led bool
}

// Ranks is where bridged workers say that they are there.
type Ranks struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
}

// Say registers a worker for 5 s; inTouch says whether it is in touch with its
// Locust master.
func (r Ranks) Say(ctx context.Context, id string, inTouch bool) (Rank, error) {
	return r.say(ctx, id, flag(inTouch))
}

// Leave takes a worker off, and says what it would have been.
func (r Ranks) Leave(ctx context.Context, id string) (Rank, error) { return r.say(ctx, id, "") }

func (r Ranks) say(ctx context.Context, id, touch string) (Rank, error) {
	k := newKeys(r.Namespace, r.Swarm)
	reply, err := rankScript.Run(ctx, r.Redis, []string{k.bridged(), k.ranks(), k.leader()}, id, strconv.FormatInt(rankTTL.Milliseconds(), 10), touch).Int64Slice()
	if err != nil {
		return Rank{}, fmt.Errorf("rank of a bridged worker: %w", err)
	}
	if len(reply) != 4 {
		return Rank{}, fmt.Errorf("%w: rank of %d fields", errReply, len(reply))
	}
	return Rank{Number: int(reply[0]), Lowest: reply[1] == 1, Others: int(reply[2]), Led: reply[3] > 0}, nil
}

// tailTTL is for how long the leader keeps what a tail has not taken.
const tailTTL = 20 * time.Second

// Tail takes the statistics to hand them on, beside the leader, which merges them.
type Tail struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
}

// Take returns up to limit entries, each to one caller only, and whether there
// may be more. Entries that cannot be read are left out.
func (t Tail) Take(ctx context.Context, limit int) ([]Entry, bool, error) {
	k := newKeys(t.Namespace, t.Swarm)
	reply, err := tailScript.Run(ctx, t.Redis, []string{k.stats(), k.relayed()}, tailTTL.Milliseconds(), limit).Slice()
	if err != nil {
		return nil, false, fmt.Errorf("read statistics: %w", err)
	}
	var entries []Entry
	for _, item := range reply {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			return nil, false, fmt.Errorf("%w: an entry of %d fields", errReply, len(pair))
		}
		id, _ := pair[0].(string)
		fields, _ := pair[1].([]any)
		values := make(map[string]any, len(fields)/2)
		for i := 0; i+1 < len(fields); i += 2 {
			name, _ := fields[i].(string)
			values[name] = fields[i+1]
		}
		if entry, err := decodeEntry(id, values); err == nil {
			entries = append(entries, entry)
		}
	}
	return entries, len(reply) == limit, nil
}
