package bridge

import "github.com/throng-load/throng/internal/opstats"

// Orders are what a Locust master wants of this worker now.
type Orders struct {
	// Joined says that the worker is in touch with a Locust master.
	Joined bool
	// On says that a test runs; Stops counts how many the Locust master has
	// stopped, so that a stop and a start in between two looks are not missed.
	On    bool
	Stops int64
	// Test is the id of the test, "" if it is not known yet or, with Weights,
	// if the Locust master does not give one.
	Test string
	// Users is how many users this worker is to run, and Classes how many of
	// each user class. Classes is nil if that is left to the scenario's weights,
	// or not known yet.
	Users   int
	Classes map[string]int
	// Weights says that the mix is left to the weights: no classes will come,
	// and no id.
	Weights bool
	// Changed is closed when there are other orders.
	Changed <-chan struct{}
}

// Wanted is how many users the worker is to run now.
func (o Orders) Wanted() int {
	if !o.Joined || !o.On {
		return 0
	}
	return o.Users
}

// Reporter takes results for Locust's statistics.
type Reporter interface {
	// Report adds what has been counted since the last report. It does not
	// block and keeps nothing of what it is given.
	Report(operations []opstats.Delta)
}
