package master

import (
	"testing"
	"time"

	"github.com/throng-load/throng/master/report"
)

// A window that is still open ends with the users, however long the accounts of
// the dead are waited for after them.
func TestExcludedWindowEndsWithTheUsers(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	totals := newTotals()
	totals.Excluded = []report.Window{{From: start, To: start.Add(time.Second)}, {From: start.Add(5 * time.Second)}}
	if got, want := totals.excluded(start.Add(8 * time.Second))[1].To, start.Add(8*time.Second); !got.Equal(want) {
		t.Errorf("while users run it ends at %v, want now, %v", got, want)
	}
	totals.Stopped = start.Add(10 * time.Second)
	if got := totals.excluded(start.Add(time.Minute))[1].To; !got.Equal(totals.Stopped) {
		t.Errorf("after the users it ends at %v, want with them, %v", got, totals.Stopped)
	}
	if !totals.Excluded[1].To.IsZero() {
		t.Error("asking has closed the window")
	}
}
