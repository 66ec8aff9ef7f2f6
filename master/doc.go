// Package master runs a swarm: it takes the leader's lease, waits for workers,
// publishes the plan, shares out the slots, merges the statistics and judges
// the outcome.
//
//	waiting --> running --> draining --> stopping --> ended
//	            ramp, hold  probe drains  no users     summary
//
// One goroutine does all of it, once a second, in the same order: renew the
// lease, call the roll, share out slots, merge, save, move on to the next
// phase. What it has merged lies in Redis after every round, so a restarted
// master goes on where the last one was.
//
// The package knows the protocol of internal/coord, the pool and the spec. It
// knows nothing of how users are run or messages timed, and never talks to the
// target.
package master
