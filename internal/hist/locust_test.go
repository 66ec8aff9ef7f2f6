package hist_test

import (
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

func TestLocustBucket(t *testing.T) {
	t.Parallel()
	for ms, want := range map[float64]int64{0.4: 0, 12.5: 12, 99.4: 99, 147: 150, 3432: 3400, 58760: 59000} {
		if got := hist.LocustBucket(time.Duration(ms * float64(time.Millisecond))); got != want {
			t.Errorf("%v: got %d, want %d", ms, got, want)
		}
	}
}
