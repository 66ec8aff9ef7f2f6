package cmd

import (
	"io"
	"sync"

	"github.com/throng-load/throng/master/report"
)

// screen is stderr beside something that is redrawn, a live table or a bar: what
// is written goes below it, and the next drawing below that, instead of one over
// the other. It is safe for concurrent use.
type screen struct {
	mu    sync.Mutex // guards what follows
	w     io.Writer
	drawn interface{ Interrupt() } // nil while nothing is shown
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn != nil {
		s.drawn.Interrupt()
	}
	return s.w.Write(p)
}

// show shows the state of a run on a table, unless nothing is to be shown.
func (s *screen) show(live *report.Live, summary *report.Summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = live
	live.Show(summary)
}

// close ends the table.
func (s *screen) close(live *report.Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = nil
	live.Close()
}

// draw calls redraw while nothing else writes. From then on what is drawn is
// interrupted for everything else, until nothing is drawn any more.
func (s *screen) draw(drawn interface{ Interrupt() }, redraw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = drawn
	redraw()
}
