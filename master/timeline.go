package master

import (
	"fmt"
	"slices"
	"time"

	"github.com/throng-load/throng/master/report"
)

// mostEvents bounds the timeline of a run of any length, and again is how soon
// after its end something that happens once more is still the same event.
const (
	mostEvents = 1000
	again      = 10 * time.Second
)

// timeline is what happened to the run's own parts.
type timeline struct {
	Events  []episode `json:"events"`
	Dropped int       `json:"dropped"` // beyond mostEvents
}

// episode is an event. It goes on while To is zero.
type episode struct {
	report.Event
	// Key tells apart whom events of a kind are about.
	Key string `json:"key"`
}

// note puts something into the timeline that is over.
func (t *timeline) note(kind string, from, to time.Time, detail string) {
	t.add(episode{report.Event{Kind: kind, From: from.UTC(), To: to.UTC(), Detail: detail}, ""})
}

// span is note for what may happen again right after: then it is one event.
func (t *timeline) span(kind string, from, to time.Time, detail string) {
	t.begin(kind, kind, from, detail)
	t.end(kind, kind, to)
}

// begin says that something goes on from a time, unless it does already.
func (t *timeline) begin(kind, key string, from time.Time, detail string) {
	for i := len(t.Events) - 1; i >= 0; i-- {
		if e := &t.Events[i]; e.Kind == kind && e.Key == key && (e.To.IsZero() || from.Sub(e.To) < again && key != "") {
			e.To = time.Time{}
			return
		}
	}
	if len(t.Events) < mostEvents { // otherwise it would be counted again and again
		t.add(episode{report.Event{Kind: kind, From: from.UTC(), Detail: detail}, key})
	}
}

// had says whether such a thing has ever happened.
func (t *timeline) had(kind, key string) bool {
	return slices.ContainsFunc(t.Events, func(e episode) bool { return e.Kind == kind && e.Key == key })
}

// end says that something went on until a time. It returns false if it did not
// go on.
func (t *timeline) end(kind, key string, to time.Time) bool {
	for i := range t.Events {
		if e := &t.Events[i]; e.Kind == kind && e.Key == key && e.To.IsZero() {
			e.To = to.UTC()
			return true
		}
	}
	return false
}

// endAll is end for everything of a kind that goes on.
func (t *timeline) endAll(kind string, to time.Time) {
	for i := range t.Events {
		if e := &t.Events[i]; e.Kind == kind && e.To.IsZero() {
			e.To = to.UTC()
		}
	}
}

func (t *timeline) add(e episode) {
	if len(t.Events) >= mostEvents {
		t.Dropped++
		return
	}
	t.Events = append(t.Events, e)
}

// events returns the timeline in order of time; what still goes on ends with end.
func (t *timeline) events(end time.Time) []report.Event {
	events := make([]report.Event, 0, len(t.Events)+1)
	for _, e := range t.Events {
		if e.To.IsZero() {
			e.To = end.UTC()
			if e.To.Before(e.From) {
				e.To = e.From
			}
		}
		events = append(events, e.Event)
	}
	slices.SortStableFunc(events, func(a, b report.Event) int { return a.From.Compare(b.From) })
	if t.Dropped > 0 {
		events = append(events, report.Event{
			Kind: report.EventsDropped, From: end.UTC(), To: end.UTC(), Detail: fmt.Sprintf("%d more events are not listed", t.Dropped),
		})
	}
	return events
}
