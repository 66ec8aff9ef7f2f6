package accounts

// What provisioning keeps beside the accounts.

// goal is a string: how many accounts of each role are to be there when a
// creation that has not ended is done, as JSON. It is not there otherwise.
func (k keys) goal() string { return k.space.Key("goal") }

// baseline is a string: how many accounts the target had before the pool
// created any.
func (k keys) baseline() string { return k.space.Key("baseline") }

// permitsPrefix is what redis_rate puts before every key.
const permitsPrefix = "rate:"

// permits is a string, in redis_rate's own form: when the next call to the
// target is due. It expires by itself once no more permits are taken. It is the
// pool's only key that does not begin with the namespace, which matters to who
// grants rights on keys; its hash tag is the pool's.
func (k keys) permits() string { return permitsPrefix + k.space.Key("rate") }

// turn is a string: the token of who has the turn for a job, and the name. It
// expires when it is not kept alive.
func (k keys) turn(job string) string { return k.space.Key("turn", job) }

// ofProvisioning returns all of these.
func (k keys) ofProvisioning() []string {
	all := []string{k.goal(), k.baseline(), k.permits()}
	for _, job := range [...]string{JobProvision, JobGenerate, JobReclaim} {
		all = append(all, k.turn(job))
	}
	return all
}
