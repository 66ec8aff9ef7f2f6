package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	textWidth = 120
	indent    = "  "
	topErrors = 20
	// roleProbe is the role of the probe's accounts: no user leases them.
	roleProbe = "probe"
)

// WriteText writes the summary for people, once a run is over: what ran, the
// verdict, and the figures in tables, at most 120 columns wide unless a name
// that is never cut (the target, a threshold) is longer. What was not measured
// shows as "-".
func WriteText(w io.Writer, s *Summary) error {
	var out strings.Builder
	for i, paragraph := range [][]string{
		whatRan(s),
		verdict(s),
		operationsText(s),
		deliveryText(s),
		undamagedText(s),
		accountsText(s),
		thresholdsText(s),
		generatorText(s),
		errorsText(s),
		eventsText(s),
	} {
		if len(paragraph) == 0 {
			continue
		}
		if i > 0 {
			out.WriteString("\n")
		}
		for _, line := range paragraph {
			out.WriteString(line + "\n")
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write summary as text: %w", err)
	}
	return nil
}

// section is a heading with lines below it.
func section(heading string, lines []string) []string {
	section := []string{heading}
	for _, line := range lines {
		section = append(section, indent+line)
	}
	return section
}

// wrapped breaks a sentence into lines that stand below each other after begin.
func wrapped(sentence, begin string) []string {
	lines := strings.Split(wrap(sentence, textWidth-len(begin)), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(begin+lines[i], " ")
		begin = strings.Repeat(" ", len(begin))
	}
	return lines
}

func whatRan(s *Summary) []string {
	r := &s.Run
	started, duration := notMeasured, notMeasured
	if !r.StartedAt.IsZero() {
		started = r.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if r.DurationS > 0 {
		duration = elapsed(r.DurationS)
	}
	return []string{
		fmt.Sprintf("Run %s of swarm %s, started %s", plain(r.ID), plain(r.Swarm), started),
		fmt.Sprintf("%s against %s: %s at peak, %s, %s", plain(r.Scenario), plain(r.Target),
			count(int64(r.UsersPeak), "user"), count(int64(r.Workers), "worker"), duration),
	}
}

func operationsText(s *Summary) []string {
	return operationsTable(s, "Operations (times in ms)")
}

func operationsTable(s *Summary, heading string) []string {
	load, probe := split(overRun(s))
	rows, rules := load, []int{1}
	if len(load) > 0 {
		rows = append(rows, totalRow(load))
		rules = append(rules, len(rows))
	}
	if len(load) > 0 && len(probe) > 0 {
		rules = append(rules, len(rows)+1)
	}
	rows = append(rows, probe...)
	if len(rows) == 0 {
		return []string{"Operations: none"}
	}
	lines := tabulate(operationFields(rows, true), rows, textWidth-len(indent))
	return section(heading, ruled(lines, rules...))
}

func deliveryText(s *Summary) []string {
	routes := s.Delivery.Probe
	if len(routes) == 0 {
		return []string{"Delivery: not measured"}
	}
	lines := tabulate(routeFields(routes, true), routes, textWidth-len(indent))
	return section("Delivery by the probe (times in ms, from the intended moment of sending)", ruled(lines, 1))
}

// undamagedText is what remains of a run without the windows in which its own
// parts failed: the figures that thresholds are judged by.
func undamagedText(s *Summary) []string {
	u := s.Undamaged
	if u == nil {
		return nil
	}
	rest := *s
	rest.Operations, rest.Delivery, rest.Run.DurationS = u.Operations, u.Delivery, u.DurationS
	lines := operationsTable(&rest, fmt.Sprintf("Without what does not count (%s of %s remain; thresholds are judged by this)", elapsed(u.DurationS), elapsed(s.Run.DurationS)))
	if len(u.Delivery.Probe) > 0 {
		lines = append(lines, "")
		lines = append(lines, section(indent+"Delivery", ruled(tabulate(routeFields(u.Delivery.Probe, true), u.Delivery.Probe, textWidth-len(indent)), 1))...)
	}
	return lines
}

func accountsText(s *Summary) []string {
	if len(s.Accounts) == 0 {
		return []string{"Accounts: not measured"}
	}
	leased, quarantined, retired, reclaimed := int64(0), false, false, int64(0)
	for _, a := range s.Accounts {
		leased += a.Leased
		reclaimed += a.Reclaimed
		quarantined = quarantined || a.Quarantined > 0
		retired = retired || a.Retired > 0
	}
	// An account at a time is what a user has, so the most that were leased at
	// once are the users of the role.
	perUser := func(a Account) string {
		if a.PeakLeased == 0 || a.Role == roleProbe {
			return notMeasured
		}
		return fmt.Sprintf("%.1f", float64(a.Leases)/float64(a.PeakLeased))
	}
	lines := tabulate([]field[Account]{
		{head: "Pool", kind: name, cell: func(a Account) string { return plain(a.Pool) }},
		{head: "Role", kind: name, cell: func(a Account) string { return plain(a.Role) }},
		{head: "known", cell: func(a Account) string { return whole(a.Known) }},
		{head: "leases", cell: func(a Account) string { return whole(a.Leases) }},
		{head: "per user", cell: perUser},
		{head: "releases", cell: func(a Account) string { return whole(a.Releases) }},
		{head: "reclaimed", cell: func(a Account) string { return whole(a.Reclaimed) }},
		{head: "still leased", cell: func(a Account) string { return whole(a.Leased) }, hide: leased == 0},
		{head: "quarantined", cell: func(a Account) string { return whole(a.Quarantined) }, hide: !quarantined},
		{head: "retired", cell: func(a Account) string { return whole(a.Retired) }, hide: !retired},
		{head: "uses", cell: func(a Account) string { return fmt.Sprintf("%.1f", a.Uses) }},
		{head: "peak leased", cell: func(a Account) string { return whole(a.PeakLeased) }},
		{head: "wait p99 ms", cell: func(a Account) string { return measured(a.WaitP99MS, figure) }},
	}, s.Accounts, textWidth-len(indent))
	lines = ruled(lines, 1)
	if reclaimed > 0 {
		lines = append(lines, fmt.Sprintf("RECLAIMED: %s had run out before the account was released", count(reclaimed, "lease")))
	}
	if leased > 0 {
		lines = append(lines, fmt.Sprintf("STILL LEASED: %s had not come back when the run ended", count(leased, "account")))
	}
	for _, a := range s.Accounts {
		if a.Created > 0 || a.Failed > 0 {
			lines = append(lines, fmt.Sprintf("CREATED: %s of role %s during the run, after %s", count(a.Created, "account"), plain(a.Role), count(a.Failed, "failed call")))
		}
		if a.Short != nil {
			var held []string
			for _, h := range a.Short.HeldBy {
				held = append(held, fmt.Sprintf("%s: %d", plain(h.Name), h.Accounts))
			}
			lines = append(lines, shorten(fmt.Sprintf("SHORT: up to %s of role %s had to be waited for; accounts were held by %s",
				count(a.Short.Waiting, "lease"), plain(a.Role), strings.Join(held, ", ")), textWidth-len(indent)))
		}
		for _, r := range a.Reasons {
			lines = append(lines, shorten(fmt.Sprintf("QUARANTINED: %s of role %s: %s",
				count(r.Accounts, "account"), plain(a.Role), plain(r.Reason)), textWidth-len(indent)))
		}
	}
	return section("Accounts", lines)
}

func thresholdsText(s *Summary) []string {
	if len(s.Thresholds) == 0 {
		return []string{"Thresholds: none"}
	}
	outcome := func(t Threshold) string {
		switch {
		case thresholdValue(t) == notMeasured:
			return "not measured"
		case t.OK:
			return "ok"
		}
		return "CROSSED"
	}
	lines := tabulate([]field[Threshold]{
		{head: "Threshold", kind: prose, cell: func(t Threshold) string { return plain(t.Expr) }},
		{head: "value", cell: thresholdValue},
		{head: "", kind: prose, cell: outcome},
	}, s.Thresholds, textWidth-len(indent))
	return section("Thresholds", ruled(lines, 1))
}

func generatorText(s *Summary) []string {
	g := &s.Generator
	lateSends := notMeasured
	if g.LateSends != nil {
		lateSends = whole(*g.LateSends)
	}
	lag := measured(g.SchedLagP99MS, func(ms float64) string { return figure(ms) + " ms" })
	cpu := measured(g.CPUMax, func(share float64) string { return percent(share, 3) })
	lines := []string{fmt.Sprintf("Generator trust: %s (cores used at most %s, scheduling delay p99 %s, late sends of the probe %s)",
		cmp.Or(plain(g.Trust), notMeasured), cpu, lag, lateSends)}
	for _, reason := range g.Reasons {
		lines = append(lines, wrapped(plain(reason), indent+"- ")...)
	}
	return lines
}

func errorsText(s *Summary) []string {
	if len(s.Errors) == 0 {
		return nil
	}
	kinds := slices.Clone(s.Errors)
	slices.SortStableFunc(kinds, func(a, b Error) int { return cmp.Compare(b.Occurrences, a.Occurrences) })
	top := kinds[:min(topErrors, len(kinds))]
	lines := ruled(tabulate([]field[Error]{
		{head: "occurrences", cell: func(e Error) string { return whole(e.Occurrences) }},
		{head: "Type", kind: name, cell: func(e Error) string { return plain(e.Type) }},
		{head: "Name", kind: name, cell: func(e Error) string { return plain(e.Name) }},
		{head: "Error", kind: prose, cell: func(e Error) string { return plain(e.Error) }},
	}, top, textWidth-len(indent)), 1)
	if others := kinds[len(top):]; len(others) > 0 {
		times := int64(0)
		for _, e := range others {
			times += e.Occurrences
		}
		lines = append(lines, fmt.Sprintf("(and %s, together %s)", count(int64(len(others)), "more error"), count(times, "time")))
	}
	return section("Errors", lines)
}

// eventsText is the run's timeline, in seconds since its start, with what does
// not count of it.
func eventsText(s *Summary) []string {
	events := slices.Clone(s.Run.Events)
	for _, window := range s.Run.Validity.Excluded {
		events = append(events, Event{Kind: "does_not_count", From: window.From, To: window.To, Detail: window.Reason})
	}
	if len(events) == 0 {
		return nil
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.From.Compare(b.From) })
	at := func(t time.Time) string {
		if s.Run.StartedAt.IsZero() || t.IsZero() {
			return notMeasured
		}
		return elapsed(t.Sub(s.Run.StartedAt).Seconds())
	}
	lines := tabulate([]field[Event]{
		{head: "from", cell: func(e Event) string { return at(e.From) }},
		{head: "to", cell: func(e Event) string { return at(e.To) }},
		{head: "Event", kind: name, cell: func(e Event) string { return strings.ReplaceAll(plain(e.Kind), "_", " ") }},
		{head: "Detail", kind: prose, cell: func(e Event) string { return plain(e.Detail) }},
	}, events, textWidth-len(indent))
	return section("Events (since the start)", ruled(lines, 1))
}
