package master

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/throng-load/throng/internal/coord"
)

// maxFollowed is how many corners a plan keeps that follows what was ordered.
const maxFollowed = 100

// errFollows is returned to a front end that would change the load.
var errFollows = errors.New("a Locust master orders the users: change them there")

// noTest is what a master that follows waits for.
const noTest = "the Locust master to start a test"

// testing says whether a worker has been told to take part in a test.
func (m *Master) testing() bool {
	return slices.ContainsFunc(m.ready(coord.KindWorker), func(worker coord.Present) bool { return worker.State.Testing })
}

// testOver says that the workers which are there have all been told that the test
// is over, or have lost their Locust master. Without any worker it is not known.
func (m *Master) testOver() bool {
	return len(m.ready(coord.KindWorker)) > 0 && !m.testing()
}

// followFrom begins to follow: the plan has as many users as are ordered.
func (m *Master) followFrom(ctx context.Context) error {
	m.plan.Points = []coord.Point{{At: m.now.UnixMicro()}}
	return m.enter(ctx, coord.PhaseRunning)
}

// follow puts into the plan how many users are ordered now, if they are others
// than before. Nobody runs users by that: it is what the run is held against.
func (m *Master) follow(ctx context.Context) error {
	ordered := 0
	for _, worker := range m.ready(coord.KindWorker) {
		ordered += worker.State.Ordered
		if !m.totals.Workers[worker.ID] {
			m.totals.Workers[worker.ID] = true
		}
	}
	points := m.plan.Points
	if ordered == int(points[len(points)-1].Users) {
		return nil
	}
	next := m.plan
	at := m.now.UnixMicro()
	// A step: the first corner is when the run began, whatever is dropped.
	next.Points = append(slices.Clone(points), coord.Point{At: at, Users: points[len(points)-1].Users}, coord.Point{At: at, Users: float64(ordered)})
	if n := len(next.Points); n > maxFollowed {
		next.Points = slices.Delete(next.Points, 1, n-maxFollowed+1)
	}
	return m.publish(ctx, next)
}

// awaitTest waits until the Locust master starts a test. The users of that run
// at once: what is not ready then is missing in the run.
func (m *Master) awaitTest(ctx context.Context) error {
	if m.testing() {
		return m.followFrom(ctx)
	}
	missing := noTest
	if workers := len(m.ready(coord.KindWorker)); workers < m.cfg.Workers {
		missing = fmt.Sprintf("workers (%d of %d are ready; start them with --master-host)", workers, m.cfg.Workers)
	}
	if m.interrupted {
		return fmt.Errorf("%w while waiting for %s", ErrInterrupted, missing)
	}
	if m.told {
		return m.enter(ctx, coord.PhaseEnded)
	}
	if limit := m.cfg.WorkersWait; limit > 0 && missing != noTest && time.Since(m.since) > limit {
		return &StartError{fmt.Sprintf("after %v the swarm %q still waits for %s", limit, m.cfg.Swarm, missing)}
	}
	if missing != m.waitingFor {
		m.waitingFor = missing
		m.log.Info("waiting for " + missing)
	}
	return nil
}
