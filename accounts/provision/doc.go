// Package provision creates, verifies and deletes a pool's accounts in the
// target, in bulk, so that whatever dies half-way, no account stays in the target
// that the pool does not know of.
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
// Ensure or DeleteAll finds in the pool exactly what is unfinished. If Redis
// itself has lost intents meanwhile, the process that created the accounts
// writes them down again.
//
// That is also why DeleteAll creates what is only intended before it deletes
// it. Deleted straight from there, an account whose deletion the pool had not
// yet noted would be created again after a crash, and a target that remembers
// idempotency keys would answer that it is there when it is not.
//
// # Receipts
//
// An account that the pool has created in the target says so (Created): that is
// its receipt. Nothing is deleted from the target without one, whatever its name
// looks like. The only other proof that counts is that the target accepts a
// password that only this pool can know, of an account whose creation was never
// answered.
//
// # Policies
//
// Every call goes through the same ones, in this order:
//
//	repeat with backoff ─► breaker closed? ─► permit ─► call, with a timeout
//
// What is refused is never repeated. Permits come at a rate that all processes
// share through the pool. When many calls in a row have failed, the target is
// taken for down: one call after each pause tries whether it still is, and the
// others wait, for as long as Config.Patience says.
//
// # Turns
//
// Of all processes one at a time creates or deletes a pool's accounts, and one
// watches that no role runs dry (Keeper). A process that dies in its turn holds
// up the others for a few seconds. One that is paused for longer than that, and
// goes on, can meet the next one's work: then there may be more accounts than
// were wanted, but none that the pool does not know of.
//
// The package knows the pool as a record of accounts, and the target only as a
// Source. To verify accounts it leases them, as any worker does. It knows nothing
// of users, scenarios or runs, and never talks to Redis by itself.
package provision
