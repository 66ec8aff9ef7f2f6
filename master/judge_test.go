package master

import (
	"testing"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
)

func at(s float64) time.Time { return time.UnixMicro(1_700_000_000_000_000 + int64(s*1e6)) }

// A window that is open ends with the run's users, and none is longer than that.
func TestWindowsEndWithTheRun(t *testing.T) {
	t.Parallel()
	var l ledger
	l.open("a", "closed", at(1), false)
	l.close("a", at(3))
	l.open("b", "open", at(5), false)
	l.open("b", "open already", at(6), false)
	windows := l.windows(at(8))
	if len(windows) != 2 || !windows[0].To.Equal(at(3)) || !windows[1].From.Equal(at(5)) || !windows[1].To.Equal(at(8)) {
		t.Errorf("windows %+v", windows)
	}
	if l.Windows[1].To != (time.Time{}) {
		t.Error("asking has closed the window")
	}
}

// Windows that overlap are not counted twice.
func TestCovered(t *testing.T) {
	t.Parallel()
	var l ledger
	for _, w := range []struct {
		key      string
		from, to float64
		delivery bool
	}{{"a", 0, 4, false}, {"b", 2, 6, false}, {"c", 3, 3.5, false}, {"d", 8, 9, false}, {"e", 1, 2, true}} {
		l.open(w.key, w.key, at(w.from), w.delivery)
		l.close(w.key, at(w.to))
	}
	all, delivery := covered(l.windows(at(20)))
	if all != 7*time.Second || delivery != time.Second {
		t.Errorf("covered %v, and of delivery %v, want 7s and 1s", all, delivery)
	}
}

// report is one of a second that ends at a time, with n operations and as many
// messages sent in the second before.
func reportAt(end float64, n int64) *coord.Report {
	return &coord.Report{
		From: at(end - 1).UnixMicro(), To: at(end).UnixMicro(),
		Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: n}},
		Routes:     []coord.Route{{Route: "quiet", At: at(end - 1).Unix(), Sent: n}},
	}
}

func counts(t *tally) (operations, sent int64) {
	for _, op := range t.Operations {
		operations += op.Count
	}
	for _, r := range t.Routes {
		sent += r.Sent
	}
	return operations, sent
}

// What was counted in a window is left out also when the window is found out a
// few seconds later, and when the report comes long after it. Nothing is lost.
func TestFiguresWithAndWithoutWindows(t *testing.T) {
	t.Parallel()
	var l ledger
	settle := func(now float64) { l.settle(at(now), func(int64, *tally) {}) }
	for second := range 30 {
		now := float64(second) + 1
		if second == 16 {
			l.close("a", at(16))
		}
		if second == 20 {
			l.open("p", "no probe", at(18), true)
			l.close("p", at(20))
		}
		if second != 11 { // this one comes late
			l.add(reportAt(now, 1), at(now))
		}
		if second == 13 { // it is found out that something went wrong since 10
			l.open("a", "lost", at(10), false)
		}
		settle(now)
		if _, whole := l.figures(); whole == nil {
			t.Fatal("no figures")
		}
	}
	l.add(reportAt(12, 1), at(30))
	for _, settled := range []bool{false, true} {
		if settled {
			settle(100)
			if len(l.Recent) != 0 {
				t.Errorf("unsettled: %v", l.Recent)
			}
		}
		whole, counted := l.figures()
		if operations, sent := counts(whole); operations != 30 || sent != 30 {
			t.Errorf("settled %v: in the whole run %d operations and %d sent, want 30", settled, operations, sent)
		}
		// Reports are up to a second wider than the window at both ends; of
		// messages it is exact.
		operations, sent := counts(counted)
		if operations < 30-9 || operations > 30-6 {
			t.Errorf("settled %v: %d operations count, want what lies outside of a window of 6 s", settled, operations)
		}
		if sent != 30-6-2 {
			t.Errorf("settled %v: %d messages count, want 22", settled, sent)
		}
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	var tl timeline
	tl.begin("overload", "w1", at(1), "first")
	tl.begin("overload", "w1", at(2), "goes on")
	tl.begin("overload", "w2", at(2), "another")
	if !tl.end("overload", "w1", at(3)) || tl.end("overload", "w1", at(4)) {
		t.Error("an end is an end once")
	}
	tl.begin("overload", "w1", at(8), "again soon is the same")
	events := tl.events(at(10))
	if len(events) != 2 || !events[0].From.Equal(at(1)) || !events[0].To.Equal(at(10)) || !events[1].To.Equal(at(10)) {
		t.Errorf("events %+v", events)
	}
	for range 2 * mostEvents {
		tl.note("x", at(1), at(1), "")
	}
	if n := len(tl.events(at(10))); n != mostEvents+1 {
		t.Errorf("%d events are kept, want %d and one that says how many there were", n, mostEvents)
	}
}
