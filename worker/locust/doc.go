// Package locust joins a Python Locust master as one of its workers. It is an
// adapter between protocols: what the master wants becomes bridge.Orders, what
// Throng's users have done becomes Locust's statistics. Users, their pace and
// their times stay with package worker.
//
//	Locust master == relay == boomer -- events --> Orders
//	              <= relay == boomer <- statistics -- Report
//
// # What boomer is, and what it is used for
//
// Boomer speaks Locust's protocol. Nothing else imports it; what is known of the
// version that is pinned decides how it is used:
//
//   - A task is a function without context or identity. Ours waits and does
//     nothing else: boomer's "users" only make its count the one that was ordered.
//   - Its recording is whole milliseconds through a channel of 100 that blocks
//     whoever records when the network stands still, and every 3 s it makes a
//     report, which it drops if the master has told it to stop meanwhile. So it is
//     not used: a Report goes out as a message of its own, with times that are not
//     rounded, once a second, also after a stop. What waits to be sent waits here,
//     joined by operation, so it needs little memory and blocks nobody.
//   - It goes on reporting every 3 s that it has recorded nothing, with a shortest
//     time of 0: the minimum in Locust's row Aggregated is 0.
//   - The event of a spawn gives a count alone, and a message of ours arrives only
//     if its content is no map. The locustfile that throng prints sends text.
//   - It connects for ever, and when the master goes away it goes on without
//     noticing: the old protocol has no heartbeat of the master, and with the new
//     one it falls silent after 60 s, for good. So it never talks to the master
//     itself. It connects to a relay in this process, which connects first and sees
//     the connection end. Then boomer is shut down, and another one made when the
//     master is back.
//   - Its event bus is a global variable that keeps the handlers of every boomer
//     there ever was, and calls them with its lock held: each join has a new bus,
//     and no handler waits for anything but a message that is being handed over.
//   - It prints by the standard logger, also when nothing is wrong. While Run runs,
//     all that goes there is on the level of debugging.
//   - When it is shut down it races with itself; the race detector says so of any
//     program. Tests run it in a child process without that.
package locust
