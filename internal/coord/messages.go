package coord

import (
	"fmt"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

// Protocol is the version of everything in this package that travels. A member
// refuses a run of another protocol.
const Protocol = 3

// Kind is what a member is.
type Kind string

// The kinds of members.
const (
	KindWorker Kind = "worker" // runs users
	KindProbe  Kind = "probe"  // measures delivery; is given no slots
)

// State is what a member says of itself with each heartbeat.
type State struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // for people: host:pid
	PID  int    `json:"pid"`
	// Run is the run that the rest is about.
	Run string `json:"run"`
	// Ready says that the member holds what the run needs and could begin.
	Ready bool `json:"ready"`
	// Refusal says why the member cannot take part in the run.
	Refusal string `json:"refusal,omitempty"`
	Users   int    `json:"users"`
	// Held is how many accounts the process holds for its users or its routes.
	Held int `json:"held,omitempty"`
	// CPU is the share of its cores that the process used last, 0 to 1, and
	// Memory what it has resident, in bytes; for people.
	CPU    float64 `json:"cpu,omitempty"`
	Memory int64   `json:"memory,omitempty"`
	// Leaving says that the process was told to end: it gives its slots away,
	// and what it still has to report comes.
	Leaving bool `json:"leaving,omitempty"`
	// Testing says that a bridged worker takes part in a Locust master's test.
	Testing bool `json:"testing,omitempty"`
	// Ordered is how many users a Locust master wants of a bridged worker.
	Ordered int `json:"ordered,omitempty"`
	// Drained says that a probe has nothing open any more.
	Drained bool `json:"drained,omitempty"`
	// Done says that no user runs, that no account is held and that every
	// report of the run is saved.
	Done bool `json:"done,omitempty"`
}

// Run is what a leader lets members do.
type Run struct {
	ID       string
	Protocol int
	// Spec is the text of the run's throng.yaml with everything filled in.
	Spec []byte
	// Started is when the run was begun, by Redis's clock. Members do not
	// learn it.
	Started time.Time
}

// Report is what happened at one member since its last report. It travels as
// CBOR, with the names that JSON would have, so that histograms are bytes: what
// a leader does most is to decode and merge them.
type Report struct {
	// From and To are when that was, by the member's estimate of Redis's
	// clock, in µs since 1970. The routes say themselves when.
	From       int64           `json:"from,omitempty"`
	To         int64           `json:"to,omitempty"`
	Operations []opstats.Delta `json:"ops,omitempty"`
	Routes     []Route         `json:"routes,omitempty"`
	// Waits are the times that users waited for an account, by role.
	Waits map[string]*hist.Histogram `json:"waits,omitempty"`
	// CPU is the share of its cores that the process used, 0 to 1.
	CPU float64 `json:"cpu,omitempty"`
	// SchedLag is how long goroutines have waited for a processor since the
	// run began here, in seconds: 99 % of them no longer.
	SchedLag float64 `json:"lag,omitempty"`
	// Overload is for how long, in seconds at the end of the interval, the
	// process has used more of its cores than its spec allows.
	Overload float64 `json:"overload,omitempty"`
}

// Route is what a probe counted on one route, of the messages that were to be
// sent in one second.
type Route struct {
	Route string `json:"route"`
	// At is the second in which they were to be sent, in s since 1970 by the
	// member's estimate of Redis's clock. What became of them may be counted
	// in a later report: a message that is lost belongs to the second in which
	// it was to be sent, not to that in which it was given up.
	At int64 `json:"at,omitempty"`
	// Sent and the outcomes are counts since the last report.
	Sent         int64 `json:"sent,omitempty"`
	OnTime       int64 `json:"on_time,omitempty"`
	Late         int64 `json:"late,omitempty"`
	Lost         int64 `json:"lost,omitempty"`
	AfterTimeout int64 `json:"after_timeout,omitempty"`
	Duplicated   int64 `json:"duplicated,omitempty"`
	Reordered    int64 `json:"reordered,omitempty"`
	Unexpected   int64 `json:"unexpected,omitempty"`
	// LateSends were sent too late by the probe's own fault, LeftOut not at all.
	LateSends int64 `json:"late_sends,omitempty"`
	LeftOut   int64 `json:"left_out,omitempty"`
	// Latency is of the received messages, from the intended time.
	Latency *hist.Histogram `json:"latency,omitempty"`
}

// Entry is a report as it lies in the stream.
type Entry struct {
	ID     string // position in the stream
	Run    string
	Member string
	Number int64
	// Oldest is the number of the oldest report that the member had kept when
	// it sent this one: those before it are saved, and cannot come again.
	Oldest int64
	Report Report
}

func decodeEntry(id string, values map[string]any) (Entry, error) {
	text := func(field string) string {
		s, _ := values[field].(string)
		return s
	}
	e := Entry{ID: id, Run: text("run"), Member: text("member")}
	if _, err := fmt.Sscan(text("number"), &e.Number); err != nil {
		return e, fmt.Errorf("coord: stream entry %s: number: %w", id, err)
	}
	if _, err := fmt.Sscan(text("oldest"), &e.Oldest); err != nil {
		return e, fmt.Errorf("coord: stream entry %s: oldest: %w", id, err)
	}
	var err error
	if e.Report, err = decodeReport([]byte(text("body"))); err != nil {
		return e, fmt.Errorf("coord: stream entry %s: %w", id, err)
	}
	return e, nil
}
