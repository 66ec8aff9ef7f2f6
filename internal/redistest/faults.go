package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Match says whether a fault is meant for a command.
type Match func(cmd redis.Cmder) bool

// Any matches every command.
func Any(redis.Cmder) bool { return true }

// Runs matches the calls of one script, by hash and by source.
func Runs(script *redis.Script) Match {
	return func(cmd redis.Cmder) bool {
		args := cmd.Args()
		if len(args) < 2 {
			return false
		}
		text, ok := args[1].(string)
		if !ok {
			return false
		}
		switch cmd.Name() {
		case "evalsha":
			return text == script.Hash()
		case "eval":
			return redis.NewScript(text).Hash() == script.Hash()
		default:
			return false
		}
	}
}

// Faults is a go-redis hook that breaks commands to order. Add it with AddHook;
// it is safe for concurrent use. Of several faults that match a command, the
// oldest acts. Pipelines pass untouched.
type Faults struct {
	mu     sync.Mutex
	faults []*Fault
}

// Fault is one order to Faults.
type Fault struct {
	owner *Faults
	match Match
	act   func(ctx context.Context, f *Fault, run func() error) error

	// Guarded by owner.mu.
	left   int // below zero: until lifted
	hits   int
	struck chan struct{} // closed at the first hit
	lifted chan struct{} // closed by Lift
	over   bool
}

// LoseReplies makes the next n matching commands run on the server and fail all
// the same, as after a time-out: the caller cannot know that they ran. With n
// below one it goes on until lifted.
func (f *Faults) LoseReplies(n int, match Match) *Fault {
	return f.add(n, match, func(_ context.Context, fault *Fault, run func() error) error {
		if err := run(); err != nil {
			if redis.HasErrorPrefix(err, "NOSCRIPT") {
				fault.giveBack()
			}
			return err
		}
		fault.strike()
		return fmt.Errorf("redistest: reply lost: %w", os.ErrDeadlineExceeded)
	})
}

// Refuse makes the next n matching commands fail before anything is sent. With
// n below one it goes on until lifted.
func (f *Faults) Refuse(n int, match Match) *Fault {
	return f.add(n, match, func(_ context.Context, fault *Fault, _ func() error) error {
		fault.strike()
		return fmt.Errorf("redistest: not sent: %w", net.ErrClosed)
	})
}

// Hold makes the next n matching commands wait, before anything is sent, until
// the fault is lifted or the command's context ends. With n below one it goes
// on until lifted.
func (f *Faults) Hold(n int, match Match) *Fault {
	return f.add(n, match, func(ctx context.Context, fault *Fault, run func() error) error {
		fault.strike()
		select {
		case <-fault.lifted:
			return run()
		case <-ctx.Done():
			return fmt.Errorf("redistest: held: %w", context.Cause(ctx))
		}
	})
}

func (f *Faults) add(n int, match Match, act func(context.Context, *Fault, func() error) error) *Fault {
	if n < 1 {
		n = -1
	}
	fault := &Fault{owner: f, match: match, act: act, left: n, struck: make(chan struct{}), lifted: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fault)
	return fault
}

// Lift ends the fault; commands that it holds go on. Lifting twice is fine.
func (f *Fault) Lift() {
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	if !f.over {
		f.over = true
		close(f.lifted)
	}
}

// Hits returns how many commands the fault has struck.
func (f *Fault) Hits() int {
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	return f.hits
}

// Struck is closed once the fault has struck a first command.
func (f *Fault) Struck() <-chan struct{} { return f.struck }

// strike counts a hit.
func (f *Fault) strike() {
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	if f.hits++; f.hits == 1 {
		close(f.struck)
	}
}

// giveBack undoes a take: a script that the server does not know yet has not
// run, and runs with the command that follows.
func (f *Fault) giveBack() {
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	if f.left >= 0 {
		f.left++
	}
}

// take returns the fault that acts on cmd, or nil.
func (f *Faults) take(cmd redis.Cmder) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		if fault.over || fault.left == 0 || !fault.match(cmd) {
			continue
		}
		if fault.left > 0 {
			fault.left--
		}
		return fault
	}
	return nil
}

// DialHook changes nothing.
func (f *Faults) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook changes nothing.
func (f *Faults) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook applies the faults to single commands.
func (f *Faults) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		fault := f.take(cmd)
		if fault == nil {
			return next(ctx, cmd)
		}
		err := fault.act(ctx, fault, func() error { return next(ctx, cmd) })
		if err != nil {
			cmd.SetErr(err)
		}
		return err
	}
}
