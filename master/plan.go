package master

import (
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios"
)

// course returns the points of a plan that begins at a time: a ramp to the users
// at the spawn rate, or the stages one after the other.
func course(load scenarios.LoadSpec, start time.Time) []coord.Point {
	if len(load.Stages) == 0 {
		return coord.Ramp(start, load.Users, load.SpawnRate)
	}
	at, users := start, 0
	points := []coord.Point{{At: at.UnixMicro()}}
	add := func(at time.Time, users int) {
		points = append(points, coord.Point{At: at.UnixMicro(), Users: float64(users)})
	}
	for _, stage := range load.Stages {
		end := at.Add(time.Duration(stage.For))
		if stage.SpawnRate > 0 {
			change := max(stage.Users-users, users-stage.Users)
			add(at.Add(time.Duration(float64(change)/stage.SpawnRate*float64(time.Second))), stage.Users)
		}
		add(end, stage.Users)
		at, users = end, stage.Users
	}
	return points
}
