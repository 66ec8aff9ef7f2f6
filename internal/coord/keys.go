package coord

import (
	"strconv"

	"github.com/throng-load/throng/internal/keyspace"
)

// keys are the keys of one swarm. All share a hash tag.
type keys struct{ space keyspace.Space }

func newKeys(namespace, swarm string) keys {
	return keys{keyspace.New(namespace, "swarm", swarm)}
}

// leader is a hash: id, epoch, until (ms), slots (the version of the newest
// assignment). It stays for ever: the epoch must
// never go back.
func (k keys) leader() string { return k.space.Key("leader") }

// run is a hash: id, protocol, spec, started (µs). It is replaced by the next run.
func (k keys) run() string { return k.space.Key("run") }

// plan is a hash: version, body. The version counts on over runs.
func (k keys) plan() string { return k.space.Key("plan") }

// members is a sorted set: member id, score = ms of its last heartbeat. The
// leader removes who has been silent for long.
func (k keys) members() string { return k.space.Key("members") }

// states is a hash: member id -> State as JSON, removed with the member.
func (k keys) states() string { return k.space.Key("states") }

// slots is a hash: worker id -> "version:bitmap", replaced by each assignment.
func (k keys) slots() string { return k.space.Key("slots") }

// stats is a stream of reports: fields run, member, number, oldest, body. It is trimmed
// behind what is saved.
func (k keys) stats() string { return k.space.Key("stats") }

// saved is a hash: body (the merged state), pos (the stream position behind
// it), mark (which save it was), run, and n:<member> -> the last merged number. It is replaced by the
// next run.
func (k keys) saved() string { return k.space.Key("saved") }

// nudge is a Pub/Sub channel without content.
func (k keys) nudge() string { return k.space.Key("nudge") }

// What follows is of workers that obey a Locust master.

// bridged is a sorted set: id of a bridged worker, score = ms at which it is
// forgotten; ranks a hash: id -> its number, plus 1000000 while it is not in
// touch with its Locust master. Both go soon after the last worker.
func (k keys) bridged() string { return k.space.Key("bridged") }
func (k keys) ranks() string   { return k.space.Key("ranks") }

// relayed is a position in stats: up to there the probe's reports have been taken
// for a Locust master. It goes 20 s after whoever does that.
func (k keys) relayed() string { return k.space.Key("relayed") }

// numbersHigh is a number: user numbers below it are free or held.
// numbersHolders is a sorted set: holder id, score = ms at which its numbers may
// be taken from it. They and the next two go a minute after the run's last holder.
func (k keys) numbersHigh(run string) string    { return k.space.Key("numbers", run, "high") }
func (k keys) numbersHolders(run string) string { return k.space.Key("numbers", run, "holders") }

// numbersHeld is a sorted set: number, score = its class, from 1.
func (k keys) numbersHeld(run, id string) string { return k.space.Key("numbers", run, "held", id) }

// numbersFree is a sorted set: number, score = the same.
func (k keys) numbersFree(run string, class int) string {
	return k.space.Key("numbers", run, "free", strconv.Itoa(class))
}
