// Package worker runs users: those whose numbers the plan and the worker's own
// slots say, computed by itself. Each user is a goroutine that makes session
// after session with accounts leased from the pool.
//
//	plan(Redis's time) + slots --> wanted numbers --> conductor --> users
//	                                                                  |  lease, log in, session, release
//	stream of reports  <-- reporter <-- recorder <--------------------+
//
// The conductor is one goroutine that owns the set of users. A user's state is
// confined to its goroutine; only the recorder is shared.
//
// The package knows the pool, the scenario API and the protocol of
// internal/coord. It knows nothing of the master, of how users are planned, or
// of what becomes of statistics.
package worker
