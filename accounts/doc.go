// Package accounts is the pool of test accounts: it leases each account to one
// holder at a time, takes it back when the holder releases it or dies, and
// keeps what provisioning needs to create and delete accounts safely.
//
// It knows Redis and nothing else: not the target, no scenario, no user. What
// an account's credentials mean is the business of whoever leases it.
//
// # The life of an account
//
//	 Intend          Confirm                Lease
//	───────► intended ─────► available ──────────────► leased
//	            │              ▲  ▲                     │ │ │
//	            │ Drop         │  │ rest time over      │ │ │
//	            ▼              │  │                     │ │ │
//	          (gone)           │  resting ◄─────────────┘ │ │
//	 Import                    │     Release(OK),         │ │
//	───────────────────────────┤     or the holder died   │ │
//	                           │                          │ │
//	                           ├──────────────────────────┘ │
//	                           │ without rest time, unused   │
//	                           │                             │
//	                           └── Restore, Sweep ──┐        │ Refused, Quarantine
//	                                                │        ▼
//	available, resting ── Retire, used up,       quarantined ◄── available, resting
//	                      too old ──► retired ◄──────┘ RetireAccounts
//	                                    │
//	                                    └─ Forget ─► (gone)
//
// An account that is intended is not yet part of the pool. Of the others
//
//	available + leased + resting + quarantined + retired = known
//
// holds after every step, whatever dies: each step is one Lua script, and a
// script of Redis happens whole or not at all. Available and resting are one
// sorted set per role, scored by when the account is ready; the account that
// has been ready longest is leased first.
//
// # The life of a lease
//
// A worker registers with the pool: the registration, not the lease, has an
// expiry, so that renewing costs the same for one account as for a million.
//
//	Register ──► Active ◄──────── renewed ───────┐
//	               │                             │
//	               ├── the deadline D passed ──► Suspended
//	               │                             │
//	               │ renewal answered: GONE      │ renewal answered: GONE
//	               ▼                             │
//	             Lost ◄──────────────────────────┘
//	               └── registers anew, with a new id ──► Active
//
// Every lease carries a fencing token, and of one account's leases each has a
// higher one than the last: max(last + 1, Redis's clock in µs). Only the token
// gives an account back; whoever comes late with an old one changes nothing.
//
// Every call that changes something carries a number, counted up by the
// holder. The scripts keep the last one and what came of it, so a call whose
// answer was lost is sent again as it was and happens once; and a script that
// does not find the number before it knows that Redis has lost writes. One such
// call is under way at a time; leases and releases that are asked for meanwhile
// travel together in the next.
//
// A holder can keep accounts ready (Prefetch), so that Lease need not wait for
// Redis. They are leased and nobody's; they end with the registration like all
// it holds, are taken only from plenty, and go back as unused.
//
// # How long a lease may be trusted
//
// With T the lease TTL, L the lock-delay, m = T/10 the margin, ρ = 1 % the
// bound on how wrongly clocks run, and s the moment just before the last
// successful renewal was sent:
//
//	s          s + T/6            D = s + T(1-ρ) - m     E ≥ s + T      E + L
//	├────────────┼──────────────────────┼────────────────────┼────────────┼──►
//	│ sent       │ next renewal         │ the holder fences  │ expires    │ may be
//	│            │                      │ itself             │ in Redis   │ reclaimed
//
// The holder counts from before sending, because Redis cannot have begun to
// count earlier; an answer that took long therefore buys no trust. Elapsed time
// is the larger of what the monotonic and the wall clock say: the first stands
// still while a machine is suspended, and a wall clock that jumps ahead only
// fences early. At D, Lease.Check fails, and the contexts from Lease.Bind end;
// the gap m + ρT + L is what a request may still take after its bytes have left.
//
// Expiry is judged by Redis's clock alone. A reclaimer also watches by its own
// monotonic clock: it takes nothing from a holder whose expiry it has seen
// change within the last T, so that no single clock can kill anybody, and it
// starts watching afresh after Redis was away. A dead holder's accounts are
// back at most T + L + 1 s after its last renewal.
//
// # When Redis loses writes
//
// A Redis that is restarted from its append-only file, or a replica that is
// promoted, may lack the last writes, which had been answered. Each script
// happens whole or not at all, so what is there is the pool as it was a moment
// ago: no account is lost, but one that is leased may look free.
//
// Every script that matters compares the server's run_id with the one that the
// pool was last served by. When it differs, the pool is frozen for T + L + R, R
// being the greatest lag of a replica that may be promoted: nothing is leased,
// retired or quarantined. Meanwhile
//
//   - a holder that lives renews; if Redis has lost a call of its, the answer is
//     RESYNC: it says what it holds, gets back what looks free, and only then is
//     renewed. What it had given back goes back again;
//   - a holder that cannot reach Redis passes its deadline D and stops by itself;
//   - a holder whose registration was lost is answered GONE, stops at once and
//     registers anew.
//
// So when the freeze is over, nobody uses an account that looks free. A lease
// that is given back to its holder keeps its token: nobody else can have had the
// account, and requests under it are on their way. After the freeze somebody
// may have, so nothing is given back any more: such a lease is lost, alone.
//
// # What remains
//
// A request that had passed Check when its process was paused may leave when the
// process wakes. Clocks must run at a sane rate. A primary that is cut off from
// its replica goes on serving its own workers; so where a replica may be
// promoted, Redis needs min-replicas-to-write 1 and min-replicas-max-lag of at
// most R, or it must be made sure that the old primary has ended. Redis's clock
// must not jump ahead during a freeze. And the account of an intent that Redis
// lost is unknown if the process that created it dies in the same second.
package accounts
