// Package probe measures delivery, apart from the load: in its own process,
// with its own accounts and its own connections. It publishes on a fixed
// schedule and both ends of a route live in the same process, so one monotonic
// clock times the whole way of a message.
//
//	schedule --> publisher ==> target ==> subscriber
//	    |            |                        |
//	    | intended   | left, acknowledged     | received
//	    v            v                        v
//	    +--------- matcher, one for each route --------> a report every second
//
// Two routes can be measured: quiet, a channel of the probe's own, and crowd,
// the scenario's crowd channel, amid the load.
//
// # Open loop
//
// A meter that waits for the answer to one message before it sends the next is
// silenced by the very stall that it should measure: a target that stands still
// for two seconds costs it one slow message, and a thousand messages that users
// would have sent meanwhile are never counted. Gil Tene named this coordinated
// omission ("How NOT to Measure Latency", 2013). Here the schedule does not wait
// for anything:
//
//	intended(i) = start + offset of the route + i / rate
//	latency(i)  = received(i) - intended(i)
//
//	target     ........|######## stalls for S ########|........
//	schedule   | | | | | | | | | | | | | | | | | | | | | | | | |
//	latency            S - - - falls evenly - - - - -> 0
//
// In a run of length T the messages of the stall have latencies spread evenly
// from 0 to S, all others next to none. So the quantile q of the run is
//
//	Q(q) = S - (1 - q) T    as long as that is above 0
//
// and one stall of 2 s in 15 s gives Q(0.99) = 1,850 ms and Q(0.999) = 1,985 ms,
// where a closed loop reports a few milliseconds.
//
// What the probe itself does late or not at all is counted beside every latency
// (late sends, left out), since it says that the generator was short of
// something and not the target.
//
// # Outcomes
//
//	latency <= on_time < late <= timeout < lost
//
//	sent = on time + late + lost + open, received = on time + late
//
// A message that arrives after the timeout stays lost and also counts as after
// the timeout. A message counts as sent from its intended moment on, also when
// there is no connection to send it over: silence must show. Left-out messages
// were never sent.
//
// The package knows the pool, the drivers' interface and the protocol of
// internal/coord. It knows no users, and nothing of the master or of how
// messages become a verdict.
package probe
