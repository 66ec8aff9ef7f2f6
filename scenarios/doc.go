// Package scenarios is what the author of a load test writes against: a
// Scenario with its user classes, the User that a session drives, seeded
// distributions for think times, and throng.yaml, the file that describes a
// run.
//
// A scenario is one package with one exported Scenario and a three-line main:
//
//	func main() { cmd.Main(mine.Scenario) }
//
// The life of a session belongs to the worker: it leases an account of the
// class's role, connects (which logs in), calls the class's Session, closes the
// connection, releases the account, and begins again until the user is stopped.
// A scenario only writes what happens while the user is connected.
//
// Users are numbers. A user's class and its group are pure functions of its
// number, so that users meet on the same channels whatever worker runs them,
// and its random numbers are seeded by it, so that a run can be repeated.
//
// The package knows accounts only as the type of a leased account. It knows
// nothing of the pool, of Redis, of workers and masters.
package scenarios
