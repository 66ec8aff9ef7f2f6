package report_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/master/report"
)

// running is passed at some moment of its run, with a share of its operations.
func running(seconds, share float64) *report.Summary {
	s := passed()
	s.Run.State, s.Run.Verdict, s.Run.DurationS = "running", "", seconds
	for i := range s.Operations {
		o := &s.Operations[i]
		o.Count = int64(share * float64(o.Count))
		o.Cancelled = int64(share * float64(o.Cancelled))
		if o.Count == 0 {
			o.Times = nil
		}
	}
	return s
}

// pass lets the time pass inside of a bubble.
func pass(d time.Duration) { <-time.After(d) }

// firstWord returns the line that begins with a word, split at its spaces.
func firstWord(t *testing.T, lines, word string) []string {
	t.Helper()
	for line := range strings.Lines(lines) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == word {
			return fields
		}
	}
	t.Fatalf("no line begins with %q in\n%s", word, lines)
	return nil
}

func TestLivePlainGolden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		live := report.NewLive(&out, nil, 2*time.Second)
		for i := range 9 { // half a second apart: a block each 2 s
			s := running(float64(i)/2, float64(i)/100)
			switch i {
			case 0:
				s.Operations, s.Delivery.Probe = nil, nil
			case 8:
				s.Operations[2].Failures = 1
				s.Delivery.Probe[0] = crossed().Delivery.Probe[0]
				s.Generator.Trust, s.Generator.Reasons = report.TrustDegraded, []string{"goroutines waited for a processor: p99 31 ms, over 20ms"}
			}
			live.Show(s)
			pass(500 * time.Millisecond)
		}
		live.Close()
		golden(t, "live_plain.txt", out.String())
		checkText(t, out.String())
	})
}

// TestLiveRate checks that rates are those since the block before, whatever
// came in between.
func TestLiveRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		live := report.NewLive(&out, nil, 2*time.Second)
		show := func(counts ...int64) string {
			out.Reset()
			s := &report.Summary{}
			for i, n := range counts {
				s.Operations = append(s.Operations, report.Operation{Type: fmt.Sprintf("OP%d", i), Count: n, RPS: 77})
			}
			live.Show(s)
			return out.String()
		}
		rate := func(block, word string) string {
			fields := firstWord(t, block, word)
			return fields[len(fields)-1]
		}
		if got := rate(show(100), "OP0"); got != "-" {
			t.Errorf("rate of the first block is %s, want it not measured", got)
		}
		pass(time.Second)
		if got := show(1000); got != "" {
			t.Errorf("a block after 1 s of 2:\n%s", got)
		}
		pass(3 * time.Second)
		block := show(300, 50)
		if got := []string{rate(block, "OP0"), rate(block, "OP1"), rate(block, "Total")}; !slices.Equal(got, []string{"50.0", "12.5", "62.5"}) {
			t.Errorf("rates of the second block are %v, want 200, 50 and 250 in 4 s:\n%s", got, block)
		}
		pass(2 * time.Second)
		if got := rate(show(300, 50), "Total"); got != "0" {
			t.Errorf("rate without operations is %s, want 0", got)
		}
	})
}

func TestLiveEarlyTick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		live := report.NewLive(&out, nil, 2*time.Second)
		live.Show(running(0, 0))
		out.Reset()
		pass(1999 * time.Millisecond)
		live.Show(running(2, 0.5))
		if out.Len() == 0 {
			t.Error("no block for a tick that came 1 ms early")
		}
	})
}

func TestLiveTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		screen := newScreen(t)
		screen.write("$ throng trial\n")
		live := report.NewLive(screen, window, 2*time.Second)
		tall := running(4, 0.2)
		for i := range 40 {
			tall.Operations = append(tall.Operations, operation("PUBLISH", fmt.Sprintf("tenant/%d/class/progress", i), 5, around(1)))
		}
		for _, s := range []*report.Summary{running(2, 0.1), tall, running(6, 0.3)} {
			live.Show(s)
			screen.showsOnly(fmt.Sprintf("elapsed %.1fs ", s.Run.DurationS))
			pass(2 * time.Second)
		}
		golden(t, "live_terminal.txt", screen.text())

		live.Close()
		live.Close()
		live.Show(running(8, 0.4))
		screen.write("summary\n")
		if got := screen.text(); !strings.HasSuffix(got, "\n\nsummary\n") || strings.Contains(got, "elapsed 8.0s") {
			t.Errorf("what follows Close stands wrong:\n%s", got)
		}
	})
}

// TestLiveTall checks what gives way when there is no room for everything.
func TestLiveTall(t *testing.T) {
	t.Parallel()
	screen := newScreen(t)
	s := running(4, 0.2)
	s.Generator.Trust, s.Generator.Reasons = report.TrustDegraded, []string{strings.Repeat("busy ", 50)}
	for i := range 40 {
		s.Operations = append(s.Operations, operation("PUBLISH", fmt.Sprintf("tenant/%d/class/progress", i), 5, around(1)))
	}
	report.NewLive(screen, window, 2*time.Second).Show(s)
	screen.showsOnly("elapsed 4.0s ")
	golden(t, "live_tall.txt", screen.text())
}

func TestLiveClosedAtOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	live := report.NewLive(&out, window, time.Second)
	live.Close()
	live.Show(passed())
	if out.Len() > 0 {
		t.Errorf("wrote %q after Close", out.String())
	}
}

// window is the size of the terminal that the tests have.
func window() (columns, lines int) { return 100, 24 }
