package accounts

import "github.com/throng-load/throng/internal/keyspace"

// keys names every key of one pool. All share one hash tag. Those without a
// remark live as long as the pool.
type keys struct{ space keyspace.Space }

// gen is a hash: schema version, the pool's random id, its settings in ms; the
// run_id of the Redis process that served it last, until when it is frozen, for
// how long a freeze lasts, and the ids of the keys that records are encrypted with.
func (k keys) gen() string { return k.space.Key("gen") }

// records is a hash: account id to record. What a record says never changes, but
// it can be encrypted with another key.
func (k keys) records() string { return k.space.Key("rec") }

// index is a hash: username to account id.
func (k keys) index() string { return k.space.Key("idx") }

// intents is a hash: username to the record of an account that is about to be
// created in the target and has no id yet.
func (k keys) intents() string { return k.space.Key("intents") }

// ids is a counter: the last account id given.
func (k keys) ids() string { return k.space.Key("ids") }

// token is a string: the last fencing token given.
func (k keys) token() string { return k.space.Key("tok") }

// roles is a set: every role that the pool has ever had accounts of, or that
// creating one was tried of in vain.
func (k keys) roles() string { return k.space.Key("roles") }

// available is a sorted set: ids of a role that nobody holds, scored by when
// they are ready, in ms of Redis's clock. Later than now means resting.
func (k keys) available(role string) string { return k.space.Key("av", role) }

// counts is a hash of a role: leased, quarantined and retired accounts now;
// leases, releases, reclaimed, created and failed since the pool was made; peak
// of leased; and w0, w1, ...: how often an account was waited for that long.
func (k keys) counts(role string) string { return k.space.Key("n", role) }

// byHolder is a sorted set of a role: "holder's id name", scored by how many
// accounts of the role it holds.
func (k keys) byHolder(role string) string { return k.space.Key("by", role) }

// wanted is a hash of a role: holder's id to how many accounts it waits for in
// vain. Holders that do not wait are not in it.
func (k keys) wanted(role string) string { return k.space.Key("want", role) }

// uses is a hash: account id to how often it was used; only in pools with a
// most of uses.
func (k keys) uses() string { return k.space.Key("uses") }

// born is a sorted set: account id, scored by when it became known, in ms of
// Redis's clock; only in pools with a greatest age.
func (k keys) born() string { return k.space.Key("born") }

// holders is a sorted set: ids of the registrations, scored by when they
// expire, in ms of Redis's clock; 0 for one that is being closed.
func (k keys) holders() string { return k.space.Key("holders") }

// holder is a hash: a registration's state (live; revoked; closing by itself;
// dead), name, time of opening, the number of the last call, and that call's
// token and ids if it was a lease; the number of the last waits that it told.
// It is deleted when the registration is closed.
func (k keys) holder(id string) string { return k.space.Key("h", id) }

// held is a hash: account id to "token role" of what a registration holds. It
// is deleted with the registration.
func (k keys) held(id string) string { return k.space.Key("held", id) }

// quarantined is a sorted set: account id, scored by until when; inf is for
// ever.
func (k keys) quarantined() string { return k.space.Key("quar") }

// reasons is a hash: id of a quarantined account to since when, in ms of
// Redis's clock, a space, and a JSON of why, with which token, by which holder.
func (k keys) reasons() string { return k.space.Key("quarwhy") }

// retired is a hash: id of a retired account to its role.
func (k keys) retired() string { return k.space.Key("retired") }

// keysOfRole is how many keys ofRoles returns for each role.
const keysOfRole = 4

// ofRoles returns the keys of each role, in order.
func (k keys) ofRoles(roles []string) []string {
	all := make([]string, 0, keysOfRole*len(roles))
	for _, role := range roles {
		all = append(all, k.available(role), k.counts(role), k.byHolder(role), k.wanted(role))
	}
	return all
}
