package coord

import "errors"

var (
	// ErrDeposed says that another leader has taken over: nothing that this
	// one writes is accepted any more.
	ErrDeposed = errors.New("coord: another master leads the swarm now")
	// ErrEmptied says that Redis no longer knows of this leader: its data is
	// gone, or older than the leader.
	ErrEmptied = errors.New("coord: Redis has lost the swarm's data")
	// ErrLed says that the swarm has a leader that is alive.
	ErrLed = errors.New("coord: the swarm has a master already")
)
