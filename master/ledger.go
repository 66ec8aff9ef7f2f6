package master

import (
	"maps"
	"slices"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// unsettled is for how long figures wait until it is decided whether they count:
// that a worker was lost shows only when it has been silent for lostAfter, and
// what it had counted last is missing from the seconds before that.
const unsettled = 6 * time.Second

// tally is what operations and routes add up to.
type tally struct {
	Operations []*opstats.Delta `json:"operations,omitempty"`
	Routes     []*coord.Route   `json:"routes,omitempty"`
}

func (t *tally) operation(d *opstats.Delta) {
	for _, row := range t.Operations {
		if row.Type == d.Type && row.Name == d.Name {
			row.Merge(*d)
			return
		}
	}
	row := &opstats.Delta{Type: d.Type, Name: d.Name}
	row.Merge(*d)
	t.Operations = append(t.Operations, row)
}

func (t *tally) route(r *coord.Route) {
	for _, row := range t.Routes {
		if row.Route == r.Route {
			row.Merge(r)
			return
		}
	}
	row := &coord.Route{Route: r.Route}
	row.Merge(r)
	t.Routes = append(t.Routes, row)
}

func (t *tally) operations(of *tally) {
	for _, d := range of.Operations {
		t.operation(d)
	}
}

func (t *tally) routes(of *tally) {
	for _, r := range of.Routes {
		t.route(r)
	}
}

// load is how many operations the users have made, and how many failed. What
// was delivered to them is not what they did.
func (t *tally) load() (count, failures int64) {
	for _, op := range t.Operations {
		if op.Type != opProbe && op.Type != scenarios.OpDeliver {
			count += op.Count
			failures += op.Failures
		}
	}
	return count, failures
}

// window is a part of the run in which its own parts failed, so that figures of
// that time say nothing about the target. It is open while To is zero.
type window struct {
	report.Window
	Key string `json:"key"` // which condition opened it
	// Delivery says that only delivery went unmeasured.
	Delivery bool `json:"delivery"`
}

// ledger keeps the figures of a run, those that count apart from those of damaged
// windows:
//
//	      settled               not settled yet
//	------------------------|---------------------> time
//	 counted or excluded    | recent, by second
//
// What comes in later than that is of a time whose windows are known.
type ledger struct {
	Counted  tally            `json:"counted"`
	Excluded tally            `json:"excluded"`
	Recent   map[int64]*tally `json:"recent"` // by second since 1970, of Redis's clock
	Windows  []window         `json:"windows"`
}

// open opens a window, unless the condition has one open.
func (l *ledger) open(key, reason string, from time.Time, delivery bool) {
	if l.find(key) == nil {
		l.Windows = append(l.Windows, window{report.Window{From: from.UTC(), Reason: reason}, key, delivery})
	}
}

// close ends the condition's window, if there is one open.
func (l *ledger) close(key string, to time.Time) {
	if w := l.find(key); w != nil {
		w.To = to.UTC()
	}
}

func (l *ledger) find(key string) *window {
	for i := range l.Windows {
		if w := &l.Windows[i]; w.Key == key && w.To.IsZero() {
			return w
		}
	}
	return nil
}

// damaged says whether a window lies in a span of time, and whether one does
// in which only delivery was not measured.
func (l *ledger) damaged(from, to time.Time) (all, delivery bool) {
	for i := range l.Windows {
		w := &l.Windows[i]
		if w.From.Before(to) && (w.To.IsZero() || from.Before(w.To)) {
			all = all || !w.Delivery
			delivery = delivery || w.Delivery
		}
	}
	return all, delivery
}

// place returns where figures of a span belong that is counted in a second.
func (l *ledger) place(damaged bool, second int64, now time.Time) *tally {
	switch {
	case damaged:
		return &l.Excluded
	case second < now.Add(-unsettled).Unix():
		return &l.Counted
	}
	if l.Recent == nil {
		l.Recent = make(map[int64]*tally)
	}
	if l.Recent[second] == nil {
		l.Recent[second] = new(tally)
	}
	return l.Recent[second]
}

// add adds a report that has come in now.
func (l *ledger) add(r *coord.Report, now time.Time) {
	from, to := time.UnixMicro(r.From), time.UnixMicro(r.To)
	damaged, _ := l.damaged(from, to)
	into := l.place(damaged, to.Unix(), now)
	for i := range r.Operations {
		into.operation(&r.Operations[i])
	}
	for i := range r.Routes {
		row := &r.Routes[i]
		all, delivery := l.damagedSecond(row.At)
		l.place(all || delivery, row.At, now).route(row)
	}
}

// damagedSecond is damaged for a second since 1970.
func (l *ledger) damagedSecond(second int64) (all, delivery bool) {
	from := time.Unix(second, 0)
	return l.damaged(from, from.Add(time.Second))
}

// split says which rows of an unsettled second count: operations are of reports
// that ended in it and began up to a second before.
func (l *ledger) split(second int64) (operations, routes bool) {
	end := time.Unix(second+1, 0)
	damaged, _ := l.damaged(end.Add(-2*time.Second), end)
	all, delivery := l.damagedSecond(second)
	return !damaged, !all && !delivery
}

// settle decides what is old enough, and calls seen with it, in order.
func (l *ledger) settle(now time.Time, seen func(second int64, t *tally)) {
	for _, second := range slices.Sorted(maps.Keys(l.Recent)) {
		if second >= now.Add(-unsettled).Unix() {
			return
		}
		t := l.Recent[second]
		seen(second, t)
		l.share(second, t, &l.Counted, &l.Excluded)
		delete(l.Recent, second)
	}
}

// share adds an unsettled second to what counts and what does not.
func (l *ledger) share(second int64, t, counted, excluded *tally) {
	operations, routes := l.split(second)
	into := func(counts bool) *tally {
		if counts {
			return counted
		}
		return excluded
	}
	into(operations).operations(t)
	into(routes).routes(t)
}

// figures returns the figures of the whole run, and those without its damaged
// windows, as they stand. The caller may not change them.
func (l *ledger) figures() (whole, counted *tally) {
	counted, excluded := new(tally), new(tally)
	for _, from := range []struct{ rows, into *tally }{{&l.Counted, counted}, {&l.Excluded, excluded}} {
		from.into.operations(from.rows)
		from.into.routes(from.rows)
	}
	for second, t := range l.Recent {
		l.share(second, t, counted, excluded)
	}
	whole = new(tally)
	for _, part := range []*tally{counted, excluded} {
		whole.operations(part)
		whole.routes(part)
	}
	return whole, counted
}

// windows returns the windows in order of time; one that is open ends with end.
func (l *ledger) windows(end time.Time) []window {
	all := slices.Clone(l.Windows)
	for i := range all {
		if w := &all[i]; w.To.IsZero() || w.To.After(end) && w.From.Before(end) {
			w.To = end.UTC()
		}
		if all[i].To.Before(all[i].From) {
			all[i].To = all[i].From
		}
	}
	slices.SortStableFunc(all, func(a, b window) int { return a.From.Compare(b.From) })
	return all
}

// covered is how much of the run the windows cover together: in which nothing
// counts, and in which delivery was not measured.
func covered(windows []window) (all, delivery time.Duration) {
	sum := func(which func(window) bool) (total time.Duration) {
		var end time.Time // windows are in order and may overlap
		for _, w := range windows {
			if !which(w) {
				continue
			}
			from := w.From
			if from.Before(end) {
				from = end
			}
			if w.To.After(from) {
				total += w.To.Sub(from)
				end = w.To
			}
		}
		return total
	}
	return sum(func(w window) bool { return !w.Delivery }), sum(func(w window) bool { return w.Delivery })
}
