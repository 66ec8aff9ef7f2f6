// Package report holds what is said of a run: the summary, whose JSON form is
// throng.summary/v1, and its forms for people.
//
// It knows the figures and how to show them. It does not know where they come
// from, and never judges.
package report

import "time"

// Schema names the JSON form of a Summary.
const Schema = "throng.summary/v1"

// Summary is everything that is said of a run, so far or at its end. A figure
// that was not measured is absent from the JSON form, never 0.
type Summary struct {
	Schema     string      `json:"schema"`
	Run        Run         `json:"run"`
	Operations []Operation `json:"operations"`
	Delivery   Delivery    `json:"delivery"`
	Accounts   []Account   `json:"accounts"`
	Thresholds []Threshold `json:"thresholds"`
	Generator  Generator   `json:"generator"`
	Errors     []Error     `json:"errors"`
	// Undamaged are the figures without the windows of Run.Validity.Excluded,
	// which thresholds are judged by; absent when there are none.
	Undamaged *Undamaged `json:"undamaged,omitempty"`
}

// Undamaged is what remains of a run without the windows in which its own parts
// failed.
type Undamaged struct {
	DurationS  float64     `json:"duration_s"`
	Operations []Operation `json:"operations"`
	Delivery   Delivery    `json:"delivery"`
}

// The values of Run.Verdict.
const (
	VerdictPass         = "pass"
	VerdictFail         = "fail"
	VerdictInconclusive = "inconclusive"
	VerdictInvalid      = "invalid"
)

// Run is what the run was and how it ended.
type Run struct {
	ID        string    `json:"id"`
	Swarm     string    `json:"swarm"`
	Scenario  string    `json:"scenario"`
	Target    string    `json:"target"`
	StartedAt time.Time `json:"started_at"`
	DurationS float64   `json:"duration_s"` // since users were first started
	Users     int       `json:"-"`          // now; for the live table
	UsersPeak int       `json:"users_peak"`
	Workers   int       `json:"workers"` // distinct workers that took part
	Processes []Process `json:"processes"`
	State     string    `json:"state"` // the phase that it is in, or ended in
	ExitCode  int       `json:"exit_code"`
	Verdict   string    `json:"verdict"`
	Validity  Validity  `json:"validity"`
	Events    []Event   `json:"events"`
}

// Process is one process that took part.
type Process struct {
	Role string `json:"role"` // master, worker, probe
	PID  int    `json:"pid"`
}

// The values of Validity.State.
const (
	Valid   = "valid"
	Partial = "partial"
	Invalid = "invalid"
)

// Validity says whether the run counts, and which windows of it do not.
type Validity struct {
	State    string   `json:"state"`
	Reasons  []string `json:"reasons"` // why it is invalid
	Excluded []Window `json:"excluded"`
}

// Window is a part of a run that does not count.
type Window struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// The kinds of events.
const (
	EventWorkerLost     = "worker_lost"
	EventWorkerLeft     = "worker_left"
	EventWorkerJoined   = "worker_joined"
	EventProbeLost      = "probe_lost"
	EventMemberBack     = "member_back"
	EventRedisAway      = "redis_away"
	EventMasterChanged  = "master_changed"
	EventMasterPaused   = "master_paused"
	EventPlanChanged    = "plan_changed"
	EventOverloaded     = "generator_overloaded"
	EventTargetRefused  = "target_refused"
	EventStatisticsLost = "statistics_lost"
	EventInterrupted    = "interrupted"
	EventsDropped       = "events_dropped"
)

// Event is something that happened to the run's own parts.
type Event struct {
	Kind   string    `json:"kind"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Detail string    `json:"detail"`
}

// Operation is one row of the load's statistics. The times are absent while
// Count is 0.
type Operation struct {
	Type      string  `json:"type"`
	Name      string  `json:"name"`
	Count     int64   `json:"count"`
	Failures  int64   `json:"failures"`
	Cancelled int64   `json:"cancelled"`
	RPS       float64 `json:"rps"` // over the run
	Bytes     int64   `json:"bytes"`
	*Times
}

// Times is the distribution of a measured time, in milliseconds. Percentiles
// are exact to 3 significant digits, the rest to the nanosecond.
type Times struct {
	MinMS  float64 `json:"min_ms"`
	MeanMS float64 `json:"mean_ms"`
	P50MS  float64 `json:"p50_ms"`
	P90MS  float64 `json:"p90_ms,omitempty"`
	P95MS  float64 `json:"p95_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p999_ms"`
	MaxMS  float64 `json:"max_ms"`
}

// Delivery is what became of messages.
type Delivery struct {
	Probe []Route `json:"probe"`
}

// Route is what the probe found on one route: Sent = OnTime + Late + Lost +
// Open, Received = OnTime + Late. The times are from the intended moment of
// sending, of received messages.
type Route struct {
	Route        string `json:"route"`
	Sent         int64  `json:"sent"`
	Received     int64  `json:"received"`
	Open         int64  `json:"open"`
	OnTime       int64  `json:"on_time"`
	Late         int64  `json:"late"`
	Lost         int64  `json:"lost"`
	AfterTimeout int64  `json:"after_timeout"`
	Duplicated   int64  `json:"duplicated"`
	Reordered    int64  `json:"reordered"`
	Unexpected   int64  `json:"unexpected"`
	*Times
}

// Account is the state of one role of the pool.
type Account struct {
	Pool        string   `json:"pool"`
	Role        string   `json:"role"`
	Known       int64    `json:"known"`
	Available   int64    `json:"available"`
	Leased      int64    `json:"leased"`
	Resting     int64    `json:"resting"`
	Quarantined int64    `json:"quarantined"`
	Retired     int64    `json:"retired"`
	Leases      int64    `json:"leases"`
	Releases    int64    `json:"releases"`
	Reclaimed   int64    `json:"reclaimed"`
	PeakLeased  int64    `json:"peak_leased"`
	WaitP99MS   *float64 `json:"wait_p99_ms,omitempty"`
	// Waiting is how many leases are waited for because the role is short.
	Waiting int64 `json:"waiting"`
	// Created counts accounts that were created in the target during the run,
	// Failed calls that were to create one and failed.
	Created int64 `json:"created"`
	Failed  int64 `json:"failed"`
	// Uses is how often an account was used in the run on average.
	Uses float64 `json:"uses_mean"`
	// Waits is how long leases were waited for, as the pool was told by its
	// holders: only buckets that are not empty.
	Waits []Wait `json:"waits,omitempty"`
	// Short is how short the role was when it was shortest; absent when nobody
	// waited.
	Short *Short `json:"short,omitempty"`
	// Reasons is why accounts are quarantined, those first that are the most.
	Reasons []Reason `json:"quarantine_reasons,omitempty"`
}

// Wait counts the waits that took less than BelowMS, and not less than half of
// it; the first bucket begins at 0.
type Wait struct {
	BelowMS int64 `json:"below_ms"`
	Count   int64 `json:"count"`
}

// Short is a moment at which a role had too few accounts.
type Short struct {
	// Waiting is how many leases were waited for.
	Waiting int64 `json:"waiting"`
	// HeldBy is who held the most accounts of the role then.
	HeldBy []Held `json:"held_by"`
}

// Held is how many accounts somebody held.
type Held struct {
	Name     string `json:"name"`
	Accounts int64  `json:"accounts"`
}

// Reason is why the target refused accounts.
type Reason struct {
	Reason   string `json:"reason"`
	Accounts int64  `json:"accounts"`
}

// Threshold is one expression and what came of it. Value is absent when it
// could not be measured, which is not ok.
type Threshold struct {
	Expr  string   `json:"expr"`
	Value *float64 `json:"value,omitempty"` // seconds, a count, or a ratio
	OK    bool     `json:"ok"`
}

// The values of Generator.Trust.
const (
	TrustOK       = "ok"
	TrustDegraded = "degraded"
	TrustInvalid  = "invalid"
)

// Generator says whether the load generator itself can be believed.
type Generator struct {
	Trust         string   `json:"trust"`
	Reasons       []string `json:"reasons"`
	CPUMax        *float64 `json:"cpu_max,omitempty"` // share of its cores, of the busiest process in its busiest second
	SchedLagP99MS *float64 `json:"sched_lag_p99_ms,omitempty"`
	LateSends     *int64   `json:"late_sends,omitempty"` // of the probe, by its own fault, including those left out
}

// Error is one kind of failure of one operation.
type Error struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Error       string `json:"error"`
	Occurrences int64  `json:"occurrences"`
}
