//go:build linux

package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/target"
)

// size is how large a run is.
type size struct {
	accounts, workers     int
	users, sampled, wires int // of each worker
	hold                  time.Duration
	settings              accounts.Settings
	// lasts is how long faults go on after each has happened once; clockPeriod
	// is how often a wrong wall clock jumps.
	lasts       time.Duration
	clockPeriod time.Duration
	// After each fault the run goes on until the floor has held for steady, and
	// then without a fault for calm.
	steady, calm time.Duration
}

// rig is a run: everything that there is, and what has come of it. The test's
// goroutine drives it.
type rig struct {
	size
	t        testing.TB
	folder   string
	seed     uint64
	random   *rand.Rand
	failFast bool
	report   *report
	stop     context.CancelCauseFunc

	store      *store
	direct     direct
	reclaimers *proxy
	slots      []*slot
	all        []*process // every worker that there ever was
	witness    *witness
	target     *target.Server
	targetURL  string
	watch      *watch
	clocks     *clockBuild
	thaws      []thaw
}

// slot is the place of one worker: its name and its proxy stay when its process
// is replaced.
type slot struct {
	name       string
	proxy      *proxy
	process    *process
	generation int
	wrongClock bool
}

// thaw is a span of Redis's clock in which nothing may be leased.
type thaw struct{ from, to time.Time }

var errViolated = errors.New("a promise is broken")

func (r *rig) violate(rule, format string, args ...any) {
	r.report.violated(rule, fmt.Sprintf(format, args...))
	if r.failFast {
		r.stop(errViolated)
	}
}

// start starts everything but the workers, and fills the pool and the target.
// All that runs ends when ctx does; running is waited for by the caller.
func (r *rig) start(ctx context.Context, running *sync.WaitGroup) error {
	var err error
	if r.witness, err = startWitness(nil); err != nil {
		return err
	}
	running.Go(func() { <-ctx.Done(); r.witness.close() })
	if err := r.serveTarget(ctx, running); err != nil {
		return err
	}
	if r.store, r.direct, err = startStore(ctx, r.t, r.settings); err != nil {
		return err
	}
	if err := r.fill(ctx); err != nil {
		return err
	}
	r.watch = newWatch(r.direct.pool, r.size, r.violate)
	running.Go(func() { r.watch.run(ctx) })
	if r.reclaimers, err = startProxy("reclaimers", r.store.master.Addr()); err != nil {
		return err
	}
	running.Go(func() { <-ctx.Done(); r.reclaimers.down() })
	for range 2 {
		rdb := dialRedis(r.reclaimers.listen)
		pool, err := accounts.Open(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: poolName})
		if err != nil {
			return err
		}
		running.Go(func() {
			defer rdb.Close()
			if err := accounts.NewReclaimer(pool).Run(ctx); err != nil {
				r.violate("the pool is gone", "%v", err)
			}
		})
	}
	if err := r.store.attach(ctx); err != nil {
		return err
	}
	for i := range r.workers {
		s := &slot{name: fmt.Sprintf("worker-%d", i)}
		if s.proxy, err = startProxy(s.name, r.store.master.Addr()); err != nil {
			return err
		}
		running.Go(func() { <-ctx.Done(); s.proxy.down() })
		r.slots = append(r.slots, s)
		if err := r.staff(s, false); err != nil {
			return err
		}
	}
	return r.ready(ctx)
}

func (r *rig) serveTarget(ctx context.Context, running *sync.WaitGroup) error {
	var err error
	if r.target, err = target.New(target.Config{Retain: 1}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.targetURL = "http://" + listener.Addr().String()
	running.Go(func() { _ = r.target.Serve(ctx, listener) })
	return nil
}

// fill makes the accounts in the target and imports them.
func (r *rig) fill(ctx context.Context) error {
	all := make([]accounts.Account, r.accounts)
	for i := range all {
		name := usernameOf(i + 1)
		all[i] = accounts.Account{Username: name, Password: accounts.NewSecret(passwordOf(name)), Role: role}
	}
	for batch := range slices.Chunk(all, 1000) {
		there := make([]map[string]string, len(batch))
		for i, a := range batch {
			there[i] = map[string]string{"username": a.Username, "password": a.Password.Reveal(), "role": a.Role}
		}
		body, err := json.Marshal(there)
		if err != nil {
			return err
		}
		answer := httptest.NewRecorder()
		r.target.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/accounts", bytes.NewReader(body)))
		if answer.Code != http.StatusCreated {
			return fmt.Errorf("create accounts in the target: status %d", answer.Code)
		}
	}
	_, err := r.direct.pool.Import(ctx, all)
	return err
}

// staff starts a worker in a slot, with a wrong clock if that is asked for.
func (r *rig) staff(s *slot, wrongClock bool) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	var extra []string
	if wrongClock {
		binary, extra = r.clocks.binary, []string{clockVariable + "=" + r.clockPeriod.String()}
	}
	s.generation++
	s.wrongClock = wrongClock
	s.process, err = startProcess(binary, r.folder, s.generation, order{
		Name: s.name, Redis: s.proxy.listen, Namespace: namespace, Pool: poolName,
		Users: r.users, Sampled: r.sampled, Wires: r.wires, Hold: r.hold,
		Witness: r.witness.addr(), Target: r.targetURL, Seed: r.random.Uint64(),
	}, extra...)
	if err != nil {
		return err
	}
	s.process.wrongClock = wrongClock
	r.all = append(r.all, s.process)
	return nil
}

// ready waits until every worker is registered.
func (r *rig) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("within a minute"))
	defer cancel()
	for _, s := range r.slots {
		if s.process.isReady {
			continue
		}
		if err := s.process.hear(ctx, "ready"); err != nil {
			return err
		}
		s.process.isReady = true
	}
	return nil
}

// turn makes everybody use the present master, but for those slots that do not
// know of it yet.
func (r *rig) turn(ctx context.Context, late ...*slot) error {
	addr := r.store.master.Addr()
	errs := []error{r.reclaimers.up(addr)}
	for _, s := range r.slots {
		if !slices.Contains(late, s) {
			errs = append(errs, s.proxy.up(addr))
		}
	}
	d, err := r.store.open(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	r.direct.rdb.Close()
	r.direct = d
	r.watch.turn(d.pool)
	return errors.Join(errs...)
}

// frozen notes that nothing may be leased from a moment on, for as long as a
// freeze lasts.
func (r *rig) frozen(from time.Time, delay time.Duration) {
	s := r.settings
	r.thaws = append(r.thaws, thaw{from.Add(delay), from.Add(s.LeaseTTL + s.LockDelay + s.ReplicaLag)})
}

// victim is a slot drawn by lot, other than those given.
func (r *rig) victim(but ...*slot) *slot {
	for {
		if s := r.slots[r.random.IntN(len(r.slots))]; !slices.Contains(but, s) {
			return s
		}
	}
}
