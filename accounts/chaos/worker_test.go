//go:build linux

package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
)

// order is what a worker process is told, as JSON in its environment. Then it
// reads "drain" and "work" from its standard input, and ends in good order with
// "leave" or when that is closed. It says "ready" once it is registered, and
// "drained" once no user has an account.
type order struct {
	Name      string
	Redis     string // host:port, the worker's own proxy
	Namespace string
	Pool      string
	// Users share Wires connections to the witness; Sampled more go to the
	// target over HTTP.
	Users, Sampled, Wires int
	Hold                  time.Duration
	Witness, Target       string
	History               string
	Seed                  uint64
}

// dialRedis connects as the product does: no retries behind the pool's back, and
// deadlines that count.
func dialRedis(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// work is a worker process. It returns the exit code.
func work(text string, in io.Reader, out, complaints io.Writer) int {
	log := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		zapcore.Lock(zapcore.AddSync(complaints)), zap.InfoLevel))
	if err := runWorker(text, in, out, log); err != nil {
		log.Error("the worker ends", zap.Error(err))
		return 1
	}
	return 0
}

func runWorker(text string, in io.Reader, out io.Writer, log *zap.Logger) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	h, err := createHistory(o.History)
	if err != nil {
		return fmt.Errorf("create history: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	rdb := dialRedis(o.Redis)
	defer rdb.Close()
	w := &workerRun{order: &o, history: h, gate: newGate()}
	defer context.AfterFunc(ctx, w.gate.finish)()
	w.holder, err = w.register(ctx, rdb, log)
	if err != nil {
		return err
	}
	w.holder.Prefetch(role, ahead)
	var holding sync.WaitGroup
	holding.Go(func() {
		if err := w.holder.Run(ctx); err != nil {
			cancel(err)
		}
	})
	// It reads until its input is closed, and ends with the process.
	go func() { cancel(w.obey(in, out)) }()
	fmt.Fprintln(out, "ready")
	w.users(ctx, cancel)
	holding.Wait()
	if err := context.Cause(ctx); !errors.Is(err, errLeave) {
		return err
	}
	return nil
}

// ahead is how many accounts a worker keeps ready, when there are plenty.
const ahead = 50

var errLeave = errors.New("told to leave")

type workerRun struct {
	order   *order
	history *history
	gate    *gate
	holder  *accounts.Holder
}

// register keeps trying: Redis may be away when a worker starts.
func (w *workerRun) register(ctx context.Context, rdb redis.UniversalClient, log *zap.Logger) (*accounts.Holder, error) {
	for {
		p, err := accounts.Open(ctx, accounts.Config{Redis: rdb, Namespace: w.order.Namespace, Name: w.order.Pool, Log: log})
		if err == nil {
			var h *accounts.Holder
			if h, err = p.Register(ctx, w.order.Name); err == nil {
				return h, nil
			}
		}
		log.Info("cannot register yet", zap.Error(err))
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// users runs all users until ctx ends. A user that fails otherwise than by its
// fence ends the worker.
func (w *workerRun) users(ctx context.Context, fail context.CancelCauseFunc) {
	allow := dial.NewAllow(nil)
	wires := make(chan *wire, w.order.Wires)
	for range w.order.Wires {
		wires <- newWire(allow, w.order.Witness, w.history)
	}
	shared := func(ctx context.Context, l *accounts.Lease, account uint32) error {
		select {
		case wire := <-wires:
			defer func() { wires <- wire }()
			return wire.send(ctx, l, account)
		case <-ctx.Done():
			return nil
		}
	}
	var users sync.WaitGroup
	for i := range w.order.Users + w.order.Sampled {
		u := &user{
			order: w.order, history: w.history,
			random: rand.New(rand.NewPCG(w.order.Seed, uint64(i))), heeds: i%2 == 0,
		}
		send := shared
		if i >= w.order.Users {
			send, u.heeds = u.overHTTP(allow), true
		}
		users.Go(func() {
			for {
				shift, err := w.gate.enter(ctx)
				if err != nil {
					return
				}
				err = u.session(shift, w.holder, send)
				ended := shift.Err() != nil
				w.gate.leave()
				if err != nil && !ended && ctx.Err() == nil {
					fail(fmt.Errorf("user %d: %w", i, err))
				}
			}
		})
	}
	users.Wait()
	for range w.order.Wires {
		(<-wires).close()
	}
}

// obey follows commands until it is told to leave.
func (w *workerRun) obey(in io.Reader, out io.Writer) error {
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		switch commands.Text() {
		case "drain":
			w.holder.Prefetch(role, 0)
			w.gate.shut()
			fmt.Fprintln(out, "drained")
		case "work":
			w.gate.open()
			w.holder.Prefetch(role, ahead)
		case "leave":
			return errLeave
		}
	}
	return errLeave
}
