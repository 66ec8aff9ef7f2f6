package cmd

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	// progressEvery is the time between lines where there is no terminal.
	progressEvery = 2 * time.Second
	barWidth      = 24
)

// progress shows how far a long piece of work has come: on a terminal as a bar
// with the rate and the time left, elsewhere as a line now and then. It belongs
// to the goroutine that does the work.
type progress struct {
	e    env
	w    io.Writer
	what string

	bar    *progressbar.ProgressBar // nil until there is something to show
	before int                      // what was done when the bar began
	said   time.Time
}

// newProgress returns what shows the progress of work on accounts on w. It draws
// a bar only if w is stdout and that is a terminal. What says for people what is
// done: "created in the target".
func newProgress(e env, w io.Writer, what string) *progress {
	return &progress{e: e, w: w, what: what, said: time.Now()}
}

// show is told how much is done.
func (p *progress) show(done, total int) {
	switch {
	case p.w == p.e.stdout && p.e.size != nil:
		p.e.stderr.draw(p, func() { p.draw(done, total) })
	case time.Since(p.said) >= progressEvery:
		p.said = time.Now()
		fmt.Fprintf(p.w, "Accounts: %d of %d %s\n", done, total, p.what)
	}
}

// draw draws the bar. It counts what this work does, so that what was done
// before it does not look like its speed.
func (p *progress) draw(done, total int) {
	if p.bar != nil && done <= p.before && p.bar.GetMax() != max(1, total-p.before) {
		p.Interrupt()
		p.bar = nil // nothing was done yet: it begins anew
	}
	if p.bar == nil {
		if total <= done {
			return // nothing to do
		}
		p.before = done
		p.bar = progressbar.NewOptions(total-done,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription("Accounts "+p.what),
			progressbar.OptionSetWidth(barWidth), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionShowCount(), progressbar.OptionSetItsString("accounts"),
			// Before anything is done it would say 0 an hour, and no time left.
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(),
		)
	}
	if done > p.before {
		progressbar.OptionShowIts()(p.bar)
		progressbar.OptionSetPredictTime(true)(p.bar)
		// More work may turn up on the way.
		p.bar.ChangeMax(max(1, total-p.before, done-p.before))
	}
	_ = p.bar.Set(max(0, done-p.before)) // what cannot be drawn is not missed
}

// Interrupt clears the line, for something else to be written; the next show
// draws the bar again.
func (p *progress) Interrupt() {
	if p.bar != nil && !p.bar.IsFinished() {
		_ = p.bar.Clear()
	}
}

// end removes the bar. It may be called again.
func (p *progress) end() {
	if p.bar == nil {
		return
	}
	p.e.stderr.draw(nil, func() {
		p.Interrupt()
		p.bar = nil
	})
}
