package cmd

import (
	"maps"
	"slices"

	httpdriver "github.com/throng-load/throng/scenarios/pubsub/http"
	"github.com/throng-load/throng/worker/rig"
)

// drivers are the protocols that this executable speaks, by the scheme of the
// target's URL.
func drivers() rig.Drivers {
	return rig.Drivers{
		"http+poll":  httpdriver.New,
		"https+poll": httpdriver.New,
	}
}

func schemes() []string { return slices.Sorted(maps.Keys(drivers())) }
