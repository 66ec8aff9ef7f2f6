// Package target is the built-in events service: a small system under test
// with accounts, log-in, channels of events read by long poll, faults to
// order, and counters that tell the truth about what it did. `throng target`
// serves it alone; `throng trial` serves it in its own process.
//
// It stands outside of Throng: it imports no other package of the module and
// knows nothing of pools, users, scenarios or Redis, so that what it witnessed
// can be held against what Throng reports.
//
// # Interface
//
//	POST /accounts                     {username,password,role,attributes} or an array; 201 | 409
//	GET|DELETE /accounts/{username}    200|404, 204|404
//	POST /login                        {username,password} -> 200 {token} | 401
//	POST /channels/{channel}/events    body = event (JSON) -> 201 {position}
//	GET  /channels/{channel}/events    ?after=P&wait=25s -> 200 {position, events:[{position,data}]}
//	GET|PUT|DELETE /admin/faults       the faults as JSON
//	GET  /admin/counters               Counters as JSON
//	GET  /healthz                      200
//
// Errors are {"error":"..."}. Bodies are limited to 1 MiB (413). Requests to
// channels carry `Authorization: Bearer TOKEN`; an account has one such token
// from its creation to its deletion, which every log-in answers, so memory
// does not grow with log-ins. A channel's name may contain slashes, escaped
// (class%2F7%2Fprogress) or not (class/7/progress).
//
// A list of accounts is created as a whole or not at all. A request to create
// that repeats the Idempotency-Key of an earlier one with the same accounts is
// answered like that one and creates nothing, even when the accounts were
// deleted meanwhile; the same key with other accounts is a 409. The newest
// 65,536 keys are remembered.
//
// With a journal (Config.Journal) accounts, their tokens and the keys are there
// again after a restart, however the target ended. Without one they end with it.
//
// # Channels
//
// Positions count up from 1 in each channel. A poll with `after` answers the
// events after that position: at once when there are some, at most 1,000 or
// about 4 MiB of them, otherwise with none after `wait` (0 when absent, 60s at
// most). It is continued from the position of the answer. A poll without
// `after` answers at once with the position of the newest event and no events:
// what is published after that answer is after that position.
//
// A channel keeps its newest Config.Retain events. A poll from a position that
// is older than those gets what is there: what was dropped is missing without
// notice. A position beyond the newest (from before a restart of the target)
// counts as the newest.
//
// # Faults
//
// Each accepted event has a number n, its place in the order of acceptance
// over all channels, and its fate is a pure function of (seed, n, faults):
//
//	loss       acknowledged with a position, never delivered to anyone
//	duplicate  delivered twice, at two positions; the first is acknowledged
//	delay      acknowledged at once, visible to subscribers from
//	           max(acceptance + drawn delay, time of the channel's previous event)
//	refuse     a publish or a log-in is answered 503 and has no other effect
//
// A lost event is neither duplicated nor delayed. Refusals are drawn by the
// number of the publish, or of the log-in, among all that were well-formed. So
// a run with the same seed whose publishes arrive in the same order meets the
// same faults.
//
// # Fencing
//
// Any request for an account may carry `X-Throng-Lease: <fencing token>`. One
// with an older token than one seen before for that account is served all the
// same, and counted in StaleTokenRequests.
package target
