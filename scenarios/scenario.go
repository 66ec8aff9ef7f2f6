package scenarios

import "context"

// Scenario is one kind of load, as the command line lists it.
type Scenario struct {
	// Name is what throng.yaml calls it: lower-case letters and digits.
	Name string
	// Summary is one line for people.
	Summary string
	// New returns the behaviour with its default parameters. Its exported
	// fields with yaml tags are the scenario's parameters: what throng.yaml
	// gives under params is decoded into them.
	New func() Behaviour
}

// Behaviour is a scenario with its parameters. After Validate has returned nil
// it does not change any more, and all its methods are safe for concurrent use.
type Behaviour interface {
	// Validate reports every parameter that is wrong, as ParamErrors joined
	// by errors.Join.
	Validate() error
	// Classes are the user classes. Their order is fixed.
	Classes() []Class
	// ClassOf returns the index in Classes of the user's class: a pure
	// function of the user's number and the parameters.
	ClassOf(number int) int
	// Crowd is one channel that load uses for the whole run. The probe
	// publishes there too, to measure delivery amid the load.
	Crowd() Channel
}

// Class is a kind of user.
type Class struct {
	// Name is an exported identifier: "Student".
	Name string
	// Role is the role of the accounts that its users lease.
	Role string
	// Weight is the class's share of the users relative to the other
	// classes; above 0.
	Weight int
	// Session is one pass of a user through its behaviour, with the account
	// leased and the connection up. It returns nil when it is through, or the
	// error that ended it early; both lead to the next session, an error
	// after a pause. When ctx ends the user is to stop: return soon, with any
	// error. Everything subscribed ends with the session.
	Session func(ctx context.Context, u *User) error
}

// Channel is one channel of the target.
type Channel struct {
	// Name is what the target calls it: "class/7/progress".
	Name string
	// Pattern is what statistics call it, the same for all channels of a
	// kind: "class/progress".
	Pattern string
}

// PeakByRole returns how many of the users 0..n-1 have each role: what a pool
// must hold at least.
func PeakByRole(b Behaviour, n int) map[string]int {
	classes := b.Classes()
	peak := make(map[string]int)
	for number := range n {
		peak[classes[b.ClassOf(number)].Role]++
	}
	return peak
}
