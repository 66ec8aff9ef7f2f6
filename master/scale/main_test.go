//go:build linux

package scale_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"testing"

	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
)

// orderVariable makes a copy of this test binary a part of the swarm: it carries
// the part's order.
const orderVariable = "THRONG_SCALE_ORDER"

// swarm and namespace are where the parts meet; each run has a Redis of its own.
const swarm, namespace = "scale", "scale"

// order is what a process is told, as JSON in its environment. It ends early when
// its standard input is closed.
type order struct {
	Redis string // URL
	// Workers is how many members the master waits for, Members how many this
	// process is; one of the two is 0.
	Workers, Members int
	Spec             string
	Profile          string // where its CPU profile goes; "" for nowhere
}

// said is what a process says, as JSON on its standard output.
type said struct {
	// Unsaved is how many reports each member keeps, once a second while every
	// one of them is in the run.
	Unsaved []int `json:",omitempty"`
	// Operations are what the process has sent, or the master has merged, and
	// Summary is the master's. They come at the end.
	Operations []*opstats.Delta `json:",omitempty"`
	Summary    *report.Summary  `json:",omitempty"`
}

func TestMain(m *testing.M) {
	text := os.Getenv(orderVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := play(text, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play is a part of the swarm, to its end.
func play(text string, in io.Reader, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // it reads until its input is closed, and ends with the process
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	if o.Profile != "" {
		file, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if o.Members > 0 {
		return runMembers(ctx, o, json.NewEncoder(out))
	}
	return runMaster(ctx, o, json.NewEncoder(out))
}
