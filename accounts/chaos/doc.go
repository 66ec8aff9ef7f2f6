// Package chaos is the proof that accounts are never shared and never lost: its
// tests run worker processes against a real Redis while both are killed, stopped,
// cut off, slowed down and failed over, and judge what came of it from the
// target's side, from the workers' histories and from the pool's own counts.
// Nothing imports it, and no code under test knows of it.
//
// # The run
//
// Workers are the test binary, run again. Each registers one holder through a
// proxy of its own and drives more users than there are accounts, so that
// whatever is given back is somebody else's at once. A user leases, makes one to
// three requests and releases. Two reclaimers run all the time, by a proxy of
// their own. Redis is a master with an append-only file, and a replica that is
// 200 ms behind it.
//
// Most users share connections to the witness, a target that does nothing but
// remember the newest token of each account: one connection for each user would
// be more than a process may open. Those connections are internal/dial's, with
// the lease of the user whose turn it is as their fence: it is the product's own
// Write that asks the lease, as the last thing before the bytes leave. A sample of
// users goes the whole way, with a Dialer and a connection of their own, to the
// built-in target. All of them wait for the answer before they give an account
// back; half of them ignore their contexts and stop for the fence alone.
//
// From the first kill on one worker has a wrong clock: one per cent slow, as far off as the lease design
// allows, with a wall clock that jumps an hour back and forth. Go takes no clock
// from outside, so that worker is built with an overlay (go build -overlay) that
// replaces one line of package accounts, where a holder asks how much of its term
// has passed.
//
// # What is judged
//
//	stale request           a request with an older token than the account had
//	                        seen, at the witness or at the target
//	overlap                 two holders used an account at the same time, or with
//	                        tokens that do not increase, by the workers' histories
//	used after the deadline a worker that was cut off used an account later than
//	                        the margin before its registration expired in Redis
//	leased in the freeze    a lease was given after a restart or failover, before
//	                        the freeze was over
//	reclaimed too early     a registration was taken away before its expiry and
//	                        the lock-delay
//	reclaimed on one clock  one was taken away although no reclaimer could have
//	                        watched it for the lease TTL
//	leaked                  at a quiet point, with every worker alive and every
//	                        user's account given back, something is still leased
//	not conserved           an audit finds an account in no place or in two, or
//	                        there are not as many as there were
//	unbounded batch         a script has reclaimed more than 256 accounts, by the
//	                        increments in the append-only file
//	never recovered         90 % are not leased again in time after a fault
//	too few leased          see below
//
// A stale request is forgiven, and counted as escaped, only if its write was under
// way while its process was stopped: it was past the check. All times are of the
// machine's CLOCK_MONOTONIC, but for those that are compared with Redis's clock,
// which is the same machine's; so a busy machine cannot make a judgement wrong,
// but for those that wait: leaked, never recovered, and too few leased.
//
// A use lasts from the moment a lease was handed out to the last one at which it
// was found good, by its fence or by its user. What a killed worker found last and
// had not written down counts for nothing; its requests count at the witness.
//
// The share of accounts that are leased is sampled ten times a second. The floor
// of 90 % is judged from when it has held for a lease TTL after a fault, with
// Redis reachable, the pool not frozen, nobody but the present workers registered,
// and no wall clock about to jump or just recovered from, until the next fault
// begins; a fault begins only then. So the floor says how much was leased when
// faults struck, and not that it was so all the time: a fault that ends leases
// lowers the share until they have been given out anew. What the share was over
// the whole time, with faults and recovery, is reported beside it. In a short run, whose machine
// may be busy with other tests, the floor is reported and breaks nothing.
//
// A fault is counted when it was seen to have happened: a kill by the wait status,
// a restart by the run_id, a cut by the bytes and by the leases that were lost, a
// promotion by the replication that was missing, a broken network by a probe. A
// worker counts as stopped for longer than its lease when its registration was
// taken away meanwhile.
//
// # Running it
//
// go test makes every fault once, with 5,000 accounts; -short leaves it out. make
// chaos makes them for ten minutes with 50,000, without the race detector, and
// wants a million hand-overs. The draws follow a seed, which the report names and
// THRONG_CHAOS_SEED repeats; what the machine does between the draws is its own.
// THRONG_CHAOS_REPORT is a path for the report as JSON. With -artifacts the
// histories and logs of the workers are kept.
//
// # The proof can fail
//
// make mutants makes short runs with the product broken on purpose, one guard at a
// time, each of which must be caught; the product as it is must pass the same
// runs. A mutant is a list of texts to replace, put over the code by an overlay
// when it is built. That takes the place of build tags: no seam for a mutant is
// left in the product. TestMutantsFit fails when code has moved away from under a
// mutant.
//
// Too few leased accounts catch no mutant: in short runs that is no violation.
package chaos
