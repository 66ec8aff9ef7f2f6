//go:build linux

package chaos_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// report is what a run came to. Durations are in seconds.
type report struct {
	Seed     uint64  `json:"seed"`
	Seconds  float64 `json:"seconds"`
	Accounts int     `json:"accounts"`
	Workers  int     `json:"workers"`
	Users    int     `json:"users"`
	TTL      float64 `json:"lease_ttl_s"`

	// Faults counts those that were seen to have happened.
	Faults map[string]int `json:"faults"`
	// Lost counts leases and releases that Redis had acknowledged and lost.
	Lost int64 `json:"transitions_lost"`

	Leases    int64 `json:"leases"`
	HandOvers int64 `json:"hand_overs"`
	Requests  int64 `json:"requests"`
	// Refused counts requests that the fence held back.
	Refused int64 `json:"refused_by_fence"`

	// Silent is how long before its registration expired in Redis a worker that
	// was cut off used an account for the last time, at least.
	Silent float64 `json:"silent_before_expiry_s"`

	Overlaps int `json:"overlaps"`
	// Stale counts stale requests at the witness, TargetStale what the built-in
	// target says. Escaped counts those of both that were past the check when
	// their process was stopped.
	Stale       int   `json:"stale_requests"`
	TargetStale int64 `json:"target_stale_token_requests"`
	Escaped     int   `json:"escaped_past_the_check"`

	QuietPoints int `json:"quiet_points"`
	Audited     int `json:"accounts_audited"`

	ShareMin   float64 `json:"leased_share_min"`
	ShareMean  float64 `json:"leased_share_mean"`
	Judged     int     `json:"leased_share_samples"`
	ShareAll   float64 `json:"leased_share_mean_of_all"`
	AboveFloor float64 `json:"leased_share_time_above_floor"`
	// Regained is the longest that it took after a fault until 90 % were leased
	// again.
	Regained float64 `json:"regained_at_most_s"`

	Violations []violation `json:"violations"`

	from time.Time

	mu sync.Mutex // guards Faults, Lost, Silent and Violations while the run lasts
}

type violation struct {
	Rule  string  `json:"rule"`
	At    float64 `json:"at_s"`
	Text  string  `json:"text"`
	Count int     `json:"count"`
}

// happened counts a fault that was seen to have happened.
func (r *report) happened(fault string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults[fault]++
}

func (r *report) lost(transitions int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Lost += transitions
}

func (r *report) fellSilent(before time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Silent == 0 || before.Seconds() < r.Silent {
		r.Silent = before.Seconds()
	}
}

// violated notes a violation; of each rule only the first is kept, and counted.
func (r *report) violated(rule, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.Violations {
		if r.Violations[i].Rule == rule {
			r.Violations[i].Count++
			return
		}
	}
	r.Violations = append(r.Violations, violation{Rule: rule, At: time.Since(r.from).Seconds(), Text: text, Count: 1})
}

func (r *report) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.Violations) > 0
}

// String is the report for people.
func (r *report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "chaos: %d accounts, %d workers, %d users, lease TTL %gs, %.0f s, seed %d\n",
		r.Accounts, r.Workers, r.Users, r.TTL, r.Seconds, r.Seed)
	line("hand-overs", "%d (%d leases)", r.HandOvers, r.Leases)
	line("requests", "%d, and %d held back by the fence", r.Requests, r.Refused)
	line("overlaps", "%d", r.Overlaps)
	line("stale requests", "%d at the witness, %d at the target; of both %d were past the check when their process was stopped",
		r.Stale, r.TargetStale, r.Escaped)
	line("leased", "%.1f %% at least, %.1f %% on average, over %d samples",
		100*r.ShareMin, 100*r.ShareMean, r.Judged)
	line("", "with faults and recovery %.1f %% on average, 90 %% or more in %.1f %% of the time; regained within %.1f s",
		100*r.ShareAll, 100*r.AboveFloor, r.Regained)
	line("cut off, fell silent", "%.0f ms before expiry in Redis, at least", 1000*r.Silent)
	line("quiet points", "%d, %d accounts audited in all", r.QuietPoints, r.Audited)
	line("leases and releases that Redis lost", "%d", r.Lost)
	b.WriteString("  faults that happened\n")
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, "    %4d  %s\n", r.Faults[name], name)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  VIOLATED %s, %d times, first after %.1f s: %s\n", v.Rule, v.Count, v.At, v.Text)
	}
	return b.String()
}

// save writes the report as JSON to the path, unless that is "".
func (r *report) save(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
