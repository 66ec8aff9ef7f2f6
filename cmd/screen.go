package cmd

import (
	"io"
	"sync"

	"github.com/throng-load/throng/master/report"
)

// screen is stderr beside a live table: what is written goes below the table,
// and the next table below that, instead of one over the other. It is safe for
// concurrent use.
type screen struct {
	mu   sync.Mutex // guards what follows
	w    io.Writer
	live *report.Live // nil while no table is shown
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		s.live.Interrupt()
	}
	return s.w.Write(p)
}

// show shows the state of a run on a table, unless nothing is to be shown.
func (s *screen) show(live *report.Live, summary *report.Summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
	live.Show(summary)
}

// close ends the table.
func (s *screen) close(live *report.Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = nil
	live.Close()
}
