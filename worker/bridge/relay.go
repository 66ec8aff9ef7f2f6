package bridge

import (
	"context"
	"fmt"
	"strconv"

	"github.com/throng-load/throng/internal/coord"
)

// relay hands on what the probe has reported in the run, whoever leads. Of a run
// before it nothing is: its page is not there any more.
func (s *StandIn) relay(ctx context.Context, run string) error {
	const batch = 200
	for more := true; more; {
		var entries []coord.Entry
		var err error
		entries, more, err = s.tail.Take(ctx, batch)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.Run != s.read.run {
				s.read = handedOn{entry.Run, make(map[string]int64)}
			}
			if entry.Number <= s.read.numbers[entry.Member] {
				continue // it was sent again
			}
			s.read.numbers[entry.Member] = entry.Number
			if results := ProbeResults(&entry.Report); len(results) > 0 && (run == "" || entry.Run == run) {
				s.cfg.Probe.Report(results)
			}
		}
	}
	return nil
}

// handedOn is which reports of a run were handed on: the last of each member.
type handedOn struct {
	run     string
	numbers map[string]int64
}

// collect lets members forget their reports, of which relay has handed on the
// probe's. Workers have given theirs to Locust themselves.
func (s *StandIn) collect(ctx context.Context) error {
	const batch = 200
	before := s.saved.Position
	for {
		entries, err := s.leader.Read(ctx, s.saved.Position, batch)
		if entries == nil && err != nil {
			return err
		}
		for _, entry := range entries {
			s.saved.Position = entry.ID
			if entry.Run == s.run.ID && entry.Oldest > s.saved.Numbers[entry.Member]+1 {
				s.saved.Numbers[entry.Member] = entry.Oldest - 1 // what is missing does not come any more
			}
			if entry.Run != s.run.ID || entry.Number != s.saved.Numbers[entry.Member]+1 {
				continue // of another run, or here already, or the next comes again
			}
			s.saved.Numbers[entry.Member] = entry.Number
		}
		if len(entries) < batch {
			break
		}
	}
	if s.saved.Position == before {
		return nil
	}
	s.saves++
	saved := s.saved
	saved.Run, saved.Body, saved.Mark = s.run.ID, []byte{}, s.id+" "+strconv.Itoa(s.saves)
	if err := s.leader.Save(ctx, saved); err != nil {
		return fmt.Errorf("save the position in the statistics: %w", err)
	}
	return nil
}
