package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"

	"github.com/throng-load/throng/master"
)

// keySteps are by how many users a key changes the run; they are Locust's.
var keySteps = map[byte]int{'w': 1, 'W': 10, 's': -1, 'S': -10}

// watchKeys changes the number of users as keys are pressed in a terminal, until
// the function that it returns is called. Elsewhere it does nothing.
func watchKeys(ctx context.Context, e env, control *master.Control, log *zap.Logger) (stop func()) {
	in, ok := e.stdin.(*os.File)
	if !ok || e.size == nil {
		return func() {}
	}
	restore, err := readKeys(in)
	if err != nil {
		return func() {} // no terminal
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		obeyKeys(ctx, in, control, e.stderr, log)
	}()
	return func() {
		cancel()
		restore() // which ends the read under way
		<-done
	}
}

// obeyKeys reads keys until in ends or ctx does.
func obeyKeys(ctx context.Context, in io.Reader, control *master.Control, says io.Writer, log *zap.Logger) {
	key := make([]byte, 1)
	for ctx.Err() == nil {
		n, err := in.Read(key)
		if err != nil && !errors.Is(err, io.EOF) {
			return
		}
		step, known := keySteps[key[0]]
		if n == 0 || !known {
			continue
		}
		switch err := control.Adjust(ctx, step); {
		case err == nil:
			fmt.Fprintf(says, "throng: %+d users\n", step)
		case ctx.Err() == nil:
			log.Warn("the number of users stays as it is", zap.Error(err))
		}
	}
}
