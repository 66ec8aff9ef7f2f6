// Package bridge is what workers need that obey a Locust master and not a plan:
// the orders that they get, and the part of a master that somebody has to play
// all the same.
//
//	Locust master -- orders --> worker 0, 1, 2 ...        users: numbers from Redis
//	              <- results --
//	                            worker 0 (the stand-in) -- run, phases --> Redis --> probe
//	                                                    <- results ------ Redis <--
//
// A run in Redis begins when the Locust master starts a test and ends when it
// stops it. Where a Throng master follows, it leads that, and the lowest-numbered
// bridged worker reads the probe's reports beside it. Where none does, that worker
// stands in for it: so that all users and the
// probe are in the same run, that the probe knows when to measure, and that what
// the probe reports finds its way to Locust's page.
//
// The package knows the protocol of internal/coord. It knows neither Locust's
// protocol nor users.
package bridge
