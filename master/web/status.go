package web

import (
	"net/http"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/master/report"
)

// status is what Throng's own tabs and the banner are drawn from.
type status struct {
	State   State  `json:"state"`
	RunID   string `json:"run_id"`
	Verdict string `json:"verdict"`
	Trouble string `json:"trouble"`
	// Validity and Generator say whether the figures count.
	Validity   report.Validity        `json:"validity"`
	Generator  report.Generator       `json:"generator"`
	Delivery   []report.Route         `json:"delivery"`
	Load       []report.Operation     `json:"load"` // of what was delivered to users
	Accounts   []report.Account       `json:"accounts"`
	Thresholds []report.Threshold     `json:"thresholds"`
	Events     []report.Event         `json:"events"`
	Holders    []holder               `json:"holders"`
	History    []statusPoint          `json:"history"`
	Options    map[string]extraOption `json:"extra_options"`
	// LoadIsFixed says that the load follows stages, whatever a form says.
	LoadIsFixed bool      `json:"load_is_fixed"`
	Now         time.Time `json:"now"`
}

// holder is a process that holds accounts.
type holder struct {
	Name  string      `json:"name"`
	Kind  string      `json:"kind"` // worker or probe
	State MemberState `json:"state"`
	Users int         `json:"users"`
	// Accounts is how many it holds, as it said last.
	Accounts int `json:"accounts"`
}

// statusPoint is a moment of the charts of Throng's own tabs.
type statusPoint struct {
	Time      string                  `json:"time"`
	Accounts  map[string]accountPoint `json:"accounts"` // by role
	Routes    map[string]routePoint   `json:"routes"`
	Delivered *float64                `json:"delivered_p95_ms,omitempty"`
}

type accountPoint struct {
	Available   int64 `json:"available"`
	Leased      int64 `json:"leased"`
	Resting     int64 `json:"resting"`
	Quarantined int64 `json:"quarantined"`
	Leases      int64 `json:"leases"`
}

// routePoint has the percentiles since the point before, absent when nothing has
// arrived since, and the counts of the run so far.
type routePoint struct {
	P50  *float64 `json:"p50_ms,omitempty"`
	P95  *float64 `json:"p95_ms,omitempty"`
	P99  *float64 `json:"p99_ms,omitempty"`
	Late int64    `json:"late"`
	Lost int64    `json:"lost"`
}

// percentile is one in ms; nil when there is nothing.
func percentile(h *hist.Histogram, q float64) *float64 {
	if h == nil || h.Count() == 0 {
		return nil
	}
	ms := hist.Milliseconds(h.Quantile(q))
	return &ms
}

// opDeliver is the operation that a message counts as when a user receives it.
const opDeliver = "DELIVER"

// newPoint is the moment of the figures.
func newPoint(f *figures) point {
	total := f.total()
	p := point{at: f.view.Now, users: f.UserCount, rps: f.CurrentRPS, failRate: f.CurrentFailRate, avg: total.AvgResponseTime,
		accounts: f.view.Summary.Accounts, delivery: f.view.Summary.Delivery.Probe}
	if f.Current.P50 != nil {
		p.p50, p.p95 = *f.Current.P50, *f.Current.P95
	}
	return p
}

// status answers for Throng's own tabs. With after=TIME only later points of the
// charts are told.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	f, after := s.newest(), r.URL.Query().Get("after")
	spec, _ := s.settings()
	options, err := extraOptions(spec)
	if err != nil {
		plainPage(w, http.StatusInternalServerError, "Internal Server Error", "The parameters cannot be written.")
		return
	}
	answer := status{State: f.State, Options: options, LoadIsFixed: s.loadIsFixed(f.State), Delivery: []report.Route{}, Load: []report.Operation{}, Accounts: []report.Account{},
		Thresholds: []report.Threshold{}, Events: []report.Event{}, Holders: []holder{}, History: []statusPoint{},
		Validity: report.Validity{State: report.Valid, Excluded: []report.Window{}}, Generator: report.Generator{Trust: report.TrustOK, Reasons: []string{}}}
	if view := f.view; view != nil {
		answer.Trouble, answer.Now = view.Trouble, view.Now
		for _, m := range view.Members {
			kind := "probe"
			if m.Worker {
				kind = "worker"
			}
			answer.Holders = append(answer.Holders, holder{m.Name, kind, m.State, m.Users, m.Held})
		}
		if summary := view.Summary; summary != nil {
			answer.RunID, answer.Verdict = summary.Run.ID, summary.Run.Verdict
			answer.Validity, answer.Generator = summary.Run.Validity, summary.Generator
			answer.Delivery = append(answer.Delivery, summary.Delivery.Probe...)
			answer.Accounts = append(answer.Accounts, summary.Accounts...)
			answer.Thresholds = append(answer.Thresholds, summary.Thresholds...)
			answer.Events = append(answer.Events, summary.Run.Events...)
			for _, op := range summary.Operations {
				if op.Type == opDeliver {
					answer.Load = append(answer.Load, op)
				}
			}
		}
	}
	for _, p := range s.points() {
		if at := stamp(p.at); at > after {
			answer.History = append(answer.History, newStatusPoint(at, p))
		}
	}
	writeJSON(w, http.StatusOK, encode(answer))
}

func newStatusPoint(at string, p point) statusPoint {
	sp := statusPoint{Time: at, Delivered: percentile(p.recent[LoadRoute], 0.95), Accounts: make(map[string]accountPoint), Routes: make(map[string]routePoint)}
	for _, a := range p.accounts {
		sp.Accounts[a.Role] = accountPoint{a.Available, a.Leased, a.Resting, a.Quarantined, a.Leases}
	}
	for _, r := range p.delivery {
		recent := p.recent[r.Route]
		sp.Routes[r.Route] = routePoint{
			P50: percentile(recent, 0.5), P95: percentile(recent, 0.95), P99: percentile(recent, 0.99), Late: r.Late, Lost: r.Lost,
		}
	}
	return sp
}
