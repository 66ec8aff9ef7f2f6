package report

import (
	"math"
	"strings"
)

// typeProbe is the type of the probe's own operations. They are no load, so
// they are not part of its total.
const typeProbe = "PROBE"

// typeDeliver is the type of messages received: what happened to users and not
// what they did, so it is no part of the total either.
const typeDeliver = "DELIVER"

// operationRow is a row of the table of operations.
type operationRow struct {
	Operation
	rate  float64 // operations a second; NaN when not measured
	total bool
}

// split tells the load's rows from the probe's, each in their order.
func split(rows []operationRow) (load, probe []operationRow) {
	for _, row := range rows {
		if row.Type == typeProbe {
			probe = append(probe, row)
		} else {
			load = append(load, row)
		}
	}
	return load, probe
}

// totalRow sums up counts and rates. It has no times: a percentile over
// different operations means nothing.
func totalRow(rows []operationRow) operationRow {
	sum := operationRow{Operation: Operation{Type: "Total"}, total: true}
	for _, row := range rows {
		if row.Type == typeDeliver {
			sum.Name = "without DELIVER"
			continue
		}
		sum.Count += row.Count
		sum.Failures += row.Failures
		sum.Cancelled += row.Cancelled
		sum.rate += row.rate
	}
	return sum
}

// operationFields are the columns for the rows; detailed has those that only
// the end of a run is read for.
func operationFields(rows []operationRow, detailed bool) []field[operationRow] {
	shares, cancelled := 0, false
	for _, row := range rows {
		shares = max(shares, len(failedShare(row.Operation)))
		cancelled = cancelled || row.Cancelled > 0
	}
	failures := func(o operationRow) string {
		share := failedShare(o.Operation)
		// Padded, so that the counts stand below each other.
		return whole(o.Failures) + share + strings.Repeat(" ", shares-len(share))
	}
	ms := func(pick func(*Times) float64) func(operationRow) string {
		return func(o operationRow) string {
			if o.total {
				return ""
			}
			return timeOf(o.Times, pick)
		}
	}
	return []field[operationRow]{
		{head: "Type", kind: name, cell: func(o operationRow) string { return plain(o.Type) }},
		{head: "Name", kind: name, cell: func(o operationRow) string { return plain(o.Name) }},
		{head: "# reqs", cell: func(o operationRow) string { return whole(o.Count) }},
		{head: "# fails", cell: failures},
		{head: "cancelled", cell: func(o operationRow) string { return whole(o.Cancelled) }, hide: !cancelled},
		{head: "Avg", cell: ms(func(t *Times) float64 { return t.MeanMS })},
		{head: "Min", cell: ms(func(t *Times) float64 { return t.MinMS }), hide: detailed},
		{head: "Max", cell: ms(func(t *Times) float64 { return t.MaxMS })},
		{head: "p50", cell: ms(func(t *Times) float64 { return t.P50MS })},
		{head: "p90", cell: ms(func(t *Times) float64 { return t.P90MS }), hide: !detailed},
		{head: "p95", cell: ms(func(t *Times) float64 { return t.P95MS })},
		{head: "p99", cell: ms(func(t *Times) float64 { return t.P99MS })},
		{head: "p99.9", cell: ms(func(t *Times) float64 { return t.P999MS }), hide: !detailed},
		{head: "req/s", cell: func(o operationRow) string { return figure(o.rate) }},
	}
}

// failedShare is the share of failures, in brackets; empty without any.
func failedShare(o Operation) string {
	if o.Failures == 0 || o.Count == 0 {
		return ""
	}
	return " (" + percent(float64(o.Failures)/float64(o.Count), 2) + ")"
}

// timeOf shows one of the times in milliseconds, if there are any.
func timeOf(t *Times, pick func(*Times) float64) string {
	if t == nil {
		return notMeasured
	}
	return figure(pick(t))
}

// routeFields are the columns for the probe's routes.
func routeFields(routes []Route, detailed bool) []field[Route] {
	afterTimeout, unexpected := false, false
	for _, r := range routes {
		afterTimeout = afterTimeout || r.AfterTimeout > 0
		unexpected = unexpected || r.Unexpected > 0
	}
	// Of a route on which nothing was sent, nothing is known.
	messages := func(pick func(Route) int64) func(Route) string {
		return func(r Route) string {
			if n := pick(r); n > 0 || r.Sent > 0 {
				return whole(n)
			}
			return notMeasured
		}
	}
	ms := func(pick func(*Times) float64) func(Route) string {
		return func(r Route) string { return timeOf(r.Times, pick) }
	}
	return []field[Route]{
		{head: "Route", kind: name, cell: func(r Route) string { return plain(r.Route) }},
		{head: "sent", cell: func(r Route) string { return whole(r.Sent) }},
		{head: "on time", cell: messages(func(r Route) int64 { return r.OnTime })},
		{head: "late", cell: messages(func(r Route) int64 { return r.Late })},
		{head: "lost", cell: messages(func(r Route) int64 { return r.Lost })},
		{head: "open", cell: messages(func(r Route) int64 { return r.Open }), hide: !detailed},
		{head: "after timeout", cell: messages(func(r Route) int64 { return r.AfterTimeout }), hide: !detailed || !afterTimeout},
		{head: "duplicated", cell: messages(func(r Route) int64 { return r.Duplicated })},
		{head: "reordered", cell: messages(func(r Route) int64 { return r.Reordered })},
		{head: "unexpected", cell: messages(func(r Route) int64 { return r.Unexpected }), hide: !detailed || !unexpected},
		{head: "Avg", cell: ms(func(t *Times) float64 { return t.MeanMS }), hide: !detailed},
		{head: "Max", cell: ms(func(t *Times) float64 { return t.MaxMS }), hide: !detailed},
		{head: "p50", cell: ms(func(t *Times) float64 { return t.P50MS })},
		{head: "p95", cell: ms(func(t *Times) float64 { return t.P95MS })},
		{head: "p99", cell: ms(func(t *Times) float64 { return t.P99MS })},
		{head: "p99.9", cell: ms(func(t *Times) float64 { return t.P999MS }), hide: !detailed},
	}
}

// overRun is the rate of a row over the whole run.
func overRun(s *Summary) []operationRow {
	rows := make([]operationRow, len(s.Operations))
	for i, o := range s.Operations {
		rows[i] = operationRow{Operation: o, rate: o.RPS}
		if s.Run.DurationS <= 0 {
			rows[i].rate = math.NaN()
		}
	}
	return rows
}
