package accounts

import "github.com/throng-load/throng/internal/keyspace"

// keys names every key of one pool. All share one hash tag. Those without a
// remark live as long as the pool.
type keys struct{ space keyspace.Space }

// gen is a hash: schema version, the pool's random id, its settings in ms.
func (k keys) gen() string { return k.space.Key("gen") }

// records is a hash: account id to record. A record never changes.
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

// roles is a set: every role that accounts were ever confirmed with.
func (k keys) roles() string { return k.space.Key("roles") }

// available is a sorted set: ids of a role that nobody holds, scored by when
// they are ready, in ms of Redis's clock. Later than now means resting.
func (k keys) available(role string) string { return k.space.Key("av", role) }

// counts is a hash of a role: leased, quarantined and retired accounts now;
// leases, releases and reclaimed since the pool was made; peak of leased.
func (k keys) counts(role string) string { return k.space.Key("n", role) }

// holders is a sorted set: ids of the registrations, scored by when they
// expire, in ms of Redis's clock; 0 for one that is being closed.
func (k keys) holders() string { return k.space.Key("holders") }

// holder is a hash: a registration's state (live; closing by itself; dead),
// name, time of opening, the number of the last call, and that call's token and
// ids if it was a lease. It is deleted when the registration is closed.
func (k keys) holder(id string) string { return k.space.Key("h", id) }

// held is a hash: account id to "token role" of what a registration holds. It
// is deleted with the registration.
func (k keys) held(id string) string { return k.space.Key("held", id) }

// quarantined is a sorted set: account id, scored by until when; inf is for
// ever.
func (k keys) quarantined() string { return k.space.Key("quar") }

// reasons is a hash: id of a quarantined account to a JSON of why, since which
// token, and by which holder.
func (k keys) reasons() string { return k.space.Key("quarwhy") }

// retired is a hash: id of a retired account to its role.
func (k keys) retired() string { return k.space.Key("retired") }

// ofRoles returns the two keys of each role, in order.
func (k keys) ofRoles(roles []string) []string {
	all := make([]string, 0, 2*len(roles))
	for _, role := range roles {
		all = append(all, k.available(role), k.counts(role))
	}
	return all
}
