package target

import (
	"math"
	"testing"
	"time"
)

// These look inside: from outside, the shape of a distribution can only be
// seen through many thousands of polls.

func TestDiceHitAsOftenAsAsked(t *testing.T) {
	t.Parallel()
	const n = 200_000
	for _, seed := range []uint64{0, 1, 2, math.MaxUint64} {
		for what := drawLoss; what <= drawRefuseLogin; what++ {
			for _, p := range []float64{0, 0.01, 0.5, 1} {
				hits := 0
				for i := range int64(n) {
					if (dice{seed}).hits(p, what, i) {
						hits++
					}
				}
				// Five sigma: p is exact for 0 and 1.
				if got, slack := float64(hits)/n, 5*math.Sqrt(p*(1-p)/n); math.Abs(got-p) > slack {
					t.Errorf("seed %d, draw %d: %v hits, want %v +- %v", seed, what, got, p, slack)
				}
			}
		}
	}
}

func TestDrawsForOneMessageAreIndependent(t *testing.T) {
	t.Parallel()
	const n = 200_000
	both := 0
	d := dice{seed: 5}
	for i := range int64(n) {
		if d.hits(0.5, drawLoss, i) && d.hits(0.5, drawDuplicate, i) {
			both++
		}
	}
	if got := float64(both) / n; math.Abs(got-0.25) > 0.005 {
		t.Errorf("both in %v, want 0.25", got)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, row := range []struct {
		delay string
		u     float64
		want  time.Duration
	}{
		{"0s", 0.9, 0},
		{"20ms", 0, 20 * ms},
		{"20ms", 0.99, 20 * ms},
		{"uniform:10ms,30ms", 0, 10 * ms},
		{"uniform:10ms,30ms", 0.25, 15 * ms},
		{"exponential:20ms", 0, 0},
		{"exponential:20ms", 1 - 1/math.E, 20 * ms},
		{"lognormal:20ms,0.5", 0, 0},
		{"lognormal:20ms,0.5", 0.5, 20 * ms},
		{"lognormal:20ms,0.5", 0.8413447460685429, time.Duration(20 * float64(ms) * math.Exp(0.5))}, // one sigma up
		{"lognormal:20ms,0", 0, 20 * ms},
		{"lognormal:20ms,0", 0.9, 20 * ms},
		{"lognormal:0s,10", math.Nextafter(1, 0), 0},
		{"lognormal:1h,10", math.Nextafter(1, 0), time.Hour},
		{"exponential:1h", math.Nextafter(1, 0), time.Hour},
	} {
		d, err := ParseDelay(row.delay)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.quantile(row.u); (got - row.want).Abs() > time.Microsecond {
			t.Errorf("%s at %v: got %v, want %v", row.delay, row.u, got, row.want)
		}
	}
}

func TestRememberedKeysAreBounded(t *testing.T) {
	t.Parallel()
	b := newBook(newTally())
	key := func(i int) string { return string(rune(i + 1)) } // distinct is enough
	const surplus = 10
	for i := range rememberedKeys + surplus {
		b.mu.Lock()
		b.remember("k"+key(i/1000)+"-"+key(i%1000), digest{byte(i)})
		b.mu.Unlock()
	}
	if len(b.created) != rememberedKeys || len(b.keys) != rememberedKeys {
		t.Fatalf("%d and %d keys kept, want %d", len(b.created), len(b.keys), rememberedKeys)
	}
	for i, want := range map[int]bool{0: false, surplus - 1: false, surplus: true, rememberedKeys + surplus - 1: true} {
		if _, kept := b.created["k"+key(i/1000)+"-"+key(i%1000)]; kept != want {
			t.Errorf("key %d kept: %v, want %v", i, kept, want)
		}
	}
}
