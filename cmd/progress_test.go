package cmd

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/schollz/progressbar/v3"
)

// On a terminal there is a bar with the rate and the time left, which other
// output does not tear, and which is gone at the end.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	e, stdout, stderr := surroundings(nil)
	e.size = func() (int, int) { return 80, 24 }
	bar := newProgress(e, e.stdout, "created in the target")
	bar.show(100, 100) // nothing to do is nothing to see
	if stdout.Len() > 0 {
		t.Fatalf("drawn although all was done: %q", stdout)
	}
	bar.show(50, 150)
	if drawn := stdout.String(); !strings.Contains(drawn, "Accounts created in the target") || !strings.Contains(drawn, "0/100") || strings.Contains(drawn, "accounts/") || strings.Contains(drawn, "0s") {
		t.Errorf("drawn before anything was done: %q, want no speed and no time left", drawn)
	}
	progressbar.OptionThrottle(0)(bar.bar)
	bar.show(90, 150)
	if drawn := stdout.String(); !strings.Contains(drawn, "accounts/") {
		t.Errorf("drawn: %q, want a speed", drawn)
	}
	bar.end()
	bar.show(50, 150)
	bar.show(90, 150)
	stdout.Reset()
	fmt.Fprintln(e.stderr, "WARN the target is down")
	if cleared := stdout.String(); !strings.HasPrefix(cleared, "\r") || strings.TrimSpace(cleared) != "" {
		t.Errorf("before other output was drawn %q, want an empty line", cleared)
	}
	if stderr.String() != "WARN the target is down\n" {
		t.Errorf("stderr: %q", stderr)
	}
	bar.show(120, 150)
	bar.end()
	bar.end()
	last := stdout.String()[strings.LastIndex(strings.TrimRight(stdout.String(), "\r "), "\r")+1:]
	if !strings.HasSuffix(stdout.String(), "\r") {
		t.Errorf("the bar is left: %q", last)
	}
	stdout.Reset()
	fmt.Fprintln(e.stderr, "after the end")
	if stdout.Len() > 0 {
		t.Errorf("drawn after the end: %q", stdout)
	}
}

// More work than was thought at first, and less, does not hurt.
func TestProgressBarBearsChanges(t *testing.T) {
	t.Parallel()
	e, _, _ := surroundings(nil)
	e.size = func() (int, int) { return 80, 24 }
	bar := newProgress(e, e.stdout, "deleted from the target")
	for _, step := range [][2]int{{0, 0}, {0, 10}, {10, 10}, {11, 10}, {11, 30}, {30, 30}, {5, 5}, {0, 0}} {
		bar.show(step[0], step[1])
	}
	bar.end()
}

// Where stdout holds JSON, or is no terminal, nothing is drawn.
func TestProgressLines(t *testing.T) {
	t.Parallel()
	for name, terminal := range map[string]bool{"no terminal": false, "JSON on a terminal": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, stdout, stderr := surroundings(nil)
			var w io.Writer = e.stdout
			if terminal {
				e.size, w = func() (int, int) { return 80, 24 }, e.stderr
			}
			bar := newProgress(e, w, "created in the target")
			bar.show(0, 10)
			bar.said = bar.said.Add(-progressEvery) // as if that time had passed
			bar.show(5, 10)
			bar.show(6, 10)
			bar.end()
			at := map[bool]*bytes.Buffer{true: stderr, false: stdout}
			if at[terminal].String() != "Accounts: 5 of 10 created in the target\n" || at[!terminal].Len() > 0 {
				t.Errorf("printed %q and %q", stdout, stderr)
			}
		})
	}
}
