package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/scenarios"
)

// exitError is an error with the exit code that it leads to. An empty text
// prints nothing: all was said before.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{master.ExitUsage, fmt.Errorf(format, args...)}
}

func startError(format string, args ...any) error {
	return &exitError{master.ExitNotStarted, fmt.Errorf(format, args...)}
}

// exitWith ends the program with a code and what there is to say beside the
// outcome, which may be nothing. A run that passed and whose outcome could not
// be written has not ended well.
func exitWith(code int, err error) error {
	if code == master.ExitPassed {
		return err
	}
	return &exitError{code, err}
}

// present prints an error for people and returns its exit code.
func present(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code := codeOf(err)
	var spec *scenarios.SpecError
	switch {
	case errors.As(err, &spec):
		for _, problem := range spec.Problems {
			if problem.File == "" {
				fmt.Fprint(w, "throng: ") // a place in a file says enough
			}
			fmt.Fprintln(w, problem)
		}
	case err.Error() == "":
	case hintFor(err) != "":
		fmt.Fprintf(w, "throng: %v (%s)\n", err, hintFor(err))
	default:
		fmt.Fprintln(w, "throng:", err)
	}
	return code
}

// hintFor says what to do about an error that does not say it itself; "" if
// there is nothing to say.
func hintFor(err error) string {
	if errors.Is(err, context.Canceled) {
		return "" // whoever has stopped it knows what to do
	}
	for _, known := range []struct {
		err  error
		hint string
	}{
		{accounts.ErrNoPool, "`throng accounts create` makes one"},
		{accounts.ErrSettings, "`throng accounts delete` removes the pool with its accounts"},
		{accounts.ErrVersion, "use that version to delete it, or give this one a pool of its own"},
		{accounts.ErrFrozen, "try again soon: `throng accounts stats` says how long that lasts"},
		{accounts.ErrTurn, "what was done is kept; run the same command again"},
		{provision.ErrDown, "what was done is kept; run the same command again when it answers"},
		{provision.ErrLimit, "accounts.max is the limit"},
	} {
		if errors.Is(err, known.err) {
			return known.hint
		}
	}
	return ""
}

// codeOf is the only place that knows which error leads to which exit code.
func codeOf(err error) int {
	var (
		exit       *exitError
		start      *master.StartError
		spec       *scenarios.SpecError
		notAllowed *dial.NotAllowedError
	)
	switch {
	case err == nil:
		return master.ExitPassed
	case errors.As(err, &exit) && exit.code == master.ExitNotStarted && errors.Is(err, context.Canceled):
		return master.ExitInterrupted // it did not start because it was stopped
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &spec), errors.As(err, &notAllowed), errors.Is(err, redisurl.ErrURL), errors.Is(err, accounts.ErrKnown):
		return master.ExitUsage
	case errors.As(err, &start), errors.Is(err, coord.ErrLed), errors.Is(err, accounts.ErrNoPool), errors.Is(err, accounts.ErrSettings), errors.Is(err, accounts.ErrVersion):
		return master.ExitNotStarted
	case errors.Is(err, master.ErrInterrupted), errors.Is(err, context.Canceled):
		return master.ExitInterrupted
	case errors.Is(err, coord.ErrDeposed), errors.Is(err, coord.ErrEmptied):
		return master.ExitInvalid
	}
	return master.ExitNotStarted
}
