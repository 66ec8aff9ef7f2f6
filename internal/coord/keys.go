package coord

import "github.com/throng-load/throng/internal/keyspace"

// keys are the keys of one swarm. All share a hash tag.
type keys struct{ space keyspace.Space }

func newKeys(namespace, swarm string) keys {
	return keys{keyspace.New(namespace, "swarm", swarm)}
}

// leader is a hash: id, epoch, until (ms). It stays for ever: the epoch must
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
