// Package coord is the protocol by which a master and its workers meet, in
// Redis and nowhere else. It is a desired state, not a stream of orders:
//
//	master (leader)                    Redis                     worker, probe (members)
//	---------------                    -----                     -----------------------
//	Campaign, Renew   --- epoch --->   leader
//	Begin, Publish    --- plan  --->   plan, run   --- Beat --->  which users do I run now?
//	Assign            --- slots --->   slots                      = f(plan, own slots, Redis time)
//	Roll              <-- states ---   members     <-- Beat ----  own state, once a second
//	Read, Save        <-- entries --   stats       <-- Report --  numbered deltas, once a second
//	                  --- saved --->   saved       --- Beat --->  forget what is saved
//
// # What is promised
//
// Users are numbers; the users that run are 0..n-1, where n is the plan, a
// function of Redis's time. A number belongs to a slot (number mod Slots), a slot to a
// worker. So a ramp needs no message, and no two workers that know the same
// assignment run the same user.
//
// The heartbeat is the poll: one script call a second reports a member's state
// and returns what changed. A Pub/Sub nudge only makes it sooner; losing one
// loses nothing.
//
// Statistics are merged exactly once. A member numbers its reports of a run
// from 1 and keeps each until a heartbeat says that it is saved, and for five seconds
// more: a Redis that is restarted may have lost a save while another master takes over. The leader
// merges an entry of a member only if its number is the next one, and saves the
// merged state, the numbers and the position in the stream with one script.
// An entry that arrives twice is skipped; a gap (Redis lost its tail) stops the
// merging of that member until it has sent the missing entries again.
//
// Each new leader has a higher epoch. The scripts accept the writes of the newest
// leader alone, whose id goes with them: a deposed master changes nothing.
//
// All expiry is judged by Redis's clock inside scripts.
//
// The package knows the state that is exchanged, not what is done with it: it
// starts no user, merges no histogram and judges no run.
package coord
