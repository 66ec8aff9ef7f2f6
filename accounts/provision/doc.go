// Package provision creates and deletes a pool's accounts in the target, in
// bulk, so that whatever dies half-way, no account stays in the target that the
// pool does not know of.
//
// An account that is intended is still to be created, one that is retired is
// still to be deleted, and each state has one way forward:
//
//	          Intend           Create, then Confirm
//	generated ─────► intended ─────────────────────► known ── leased, released, ...
//	                     │                             │
//	                     │ Create: ErrTaken            │ Retire
//	                     ▼                             ▼
//	                  dropped                       retired ── Delete, then Forget ─► (gone)
//
// The pool is told first, the target second and the pool again third; Create
// and Delete of a Source may be repeated. So after a crash anywhere the next
// Ensure or DeleteAll finds in the pool exactly what is unfinished.
//
// That is also why DeleteAll creates what is only intended before it deletes
// it. Deleted straight from there, an account whose deletion the pool had not
// yet noted would be created again after a crash, and a target that remembers
// idempotency keys would answer that it is there when it is not.
//
// The package knows the pool as a record of accounts, and the target only as a
// Source. It knows nothing of leases, holders, users, scenarios or runs, and
// never talks to Redis by itself.
package provision
