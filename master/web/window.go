package web

import (
	"time"

	"github.com/throng-load/throng/internal/hist"
)

const (
	// windowLength is what current figures cover.
	windowLength = 10 * time.Second
	// sampleEvery is how far apart the samples of the window are.
	sampleEvery = time.Second
)

// sample is how many requests there were at one moment.
type sample struct {
	at     time.Time
	counts map[key]counts
	took   *hist.Histogram // of Aggregated
}

type counts struct{ requests, failures int64 }

// window holds the samples of about the last ten seconds: what is current is the
// difference between the newest and the oldest. Once the run has ended it stays
// as it is.
type window struct {
	samples []sample // a second apart, but for the newest
}

// add takes a sample; live says that the run goes on.
func (w *window) add(s sample, live bool) {
	if !live && len(w.samples) > 1 {
		return
	}
	if s.took.Count() == 0 {
		w.samples = nil // the window begins with the first request
	}
	if n := len(w.samples); n > 1 && s.at.Sub(w.samples[n-2].at) < sampleEvery {
		w.samples[n-1] = s // the newest moves until it is a second from the one before
	} else {
		w.samples = append(w.samples, s)
	}
	for len(w.samples) > 2 && s.at.Sub(w.samples[1].at) >= windowLength {
		w.samples = w.samples[1:]
	}
}

// ends are the oldest and the newest sample, and the seconds between them.
func (w *window) ends() (oldest, newest sample, seconds float64) {
	if len(w.samples) < 2 {
		return sample{}, sample{}, 0
	}
	oldest, newest = w.samples[0], w.samples[len(w.samples)-1]
	return oldest, newest, newest.at.Sub(oldest.at).Seconds()
}

// rate is how many requests and failures of an operation there were a second.
func (w *window) rate(k key) (requests, failures float64) {
	oldest, newest, seconds := w.ends()
	if seconds <= 0 {
		return 0, 0
	}
	from, to := oldest.counts[k], newest.counts[k]
	return float64(to.requests-from.requests) / seconds, float64(to.failures-from.failures) / seconds
}

// recent has the response times of all requests in the window.
func (w *window) recent() *hist.Histogram {
	oldest, newest, seconds := w.ends()
	if seconds <= 0 {
		return nil
	}
	return newest.took.Since(oldest.took)
}
