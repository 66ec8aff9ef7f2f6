// Package cmd is the importable command line: the flags, the wiring and the
// presenter of errors, one file per command. An own scenario is one package and
// a main of one line:
//
//	func main() { cmd.Main(mine.Scenario) }
//
// It has every command of throng, since child processes are the same
// executable run again. The package knows all others and holds no logic of its
// own.
package cmd

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"

	"github.com/throng-load/throng/scenarios"
)

// Main runs the command line with these scenarios and exits.
func Main(scenarios ...scenarios.Scenario) {
	logging.Disable()              // go-redis prints by itself; whatever matters comes back as an error
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away must not end a run half-way
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, env{
		args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: &screen{w: os.Stderr},
		lookup: os.LookupEnv, size: terminalSize(os.Stdout), scenarios: scenarios,
	}))
}

// env is all that the program takes from its surroundings, so that a test can
// give its own.
type env struct {
	args      []string
	stdin     io.Reader
	stdout    io.Writer
	stderr    *screen
	lookup    func(name string) (string, bool)
	size      func() (columns, lines int) // of the terminal at stdout; nil if it is none
	scenarios []scenarios.Scenario
}

// run is the whole program: it returns the exit code.
func run(ctx context.Context, e env) int {
	ctx, release := obeyParent(ctx, e.lookup)
	defer release()
	root := newRoot(e)
	root.SetArgs(e.args)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	return present(e.stderr, root.ExecuteContext(ctx))
}
