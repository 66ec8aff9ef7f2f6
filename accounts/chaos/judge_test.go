//go:build linux

package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// judgeStale looks at every request that came with an old token: it is only
// forgiven if it had passed the check when its process was stopped.
func (r *rig) judgeStale() error {
	_, stale := r.witness.figures()
	ofTarget := r.target.Counters().StaleTokenRequests
	if len(stale) == r.report.Stale && ofTarget == r.report.TargetStale {
		return nil
	}
	escaped := map[usage]int{}
	escapes := int64(0)
	for _, p := range r.all {
		err := readHistory(p.history, func(rec record) {
			if rec.Kind == heldUp && p.wasStopped(rec.From, rec.To) {
				escaped[usage{rec.Account, rec.Token}]++
				escapes++
			}
		})
		if err != nil {
			return err
		}
	}
	r.report.Escaped = 0
	for i, s := range stale {
		if k := (usage{s.account, s.token}); escaped[k] > 0 {
			escaped[k]--
			r.report.Escaped++
			continue
		}
		if i >= r.report.Stale {
			r.violate("stale request", "account %d: a request with token %d after one with token %d", s.account, s.token, s.newest)
		}
	}
	r.report.Stale = len(stale)
	// The target does not tell which requests those were.
	if ofTarget > r.report.TargetStale && ofTarget > escapes {
		r.violate("stale request", "the target counts %d stale requests; %d were past the check when their process was stopped", ofTarget, escapes)
	}
	r.report.TargetStale = ofTarget
	return nil
}

// judgeHistories checks that no two holders used an account at the same time,
// and that nothing was leased while the pool had to be frozen.
func (r *rig) judgeHistories() error {
	var all []use
	r.report.Leases, r.report.Requests, r.report.Refused = 0, 0, 0
	touched := map[uint32]bool{}
	for _, p := range r.all {
		of := uses{worker: p.name}
		err := readHistory(p.history, func(rec record) {
			of.add(rec)
			switch rec.Kind {
			case leased:
				r.report.Leases++
				touched[rec.Account] = true
				r.judgeThaw(p.name, rec)
			case used:
				r.report.Requests++
			case refused:
				r.report.Refused++
			}
		})
		if err != nil {
			return err
		}
		all = append(all, of.list()...)
	}
	r.report.HandOvers = r.report.Leases - int64(len(touched))
	found := overlaps(all)
	for _, text := range found[min(r.report.Overlaps, len(found)):] {
		r.violate("overlap", "%s", text)
	}
	r.report.Overlaps = len(found)
	return nil
}

// judgeThaw looks at when a lease was given: its token is Redis's clock in µs.
func (r *rig) judgeThaw(name string, rec record) {
	given := time.UnixMicro(rec.Token)
	for _, t := range r.thaws {
		if given.After(t.from) && given.Before(t.to) {
			r.violate("leased in the freeze", "%s was given account %d %v before the end of a freeze", name, rec.Account, t.to.Sub(given))
		}
	}
}

// mostReclaimed is how many accounts one script may take back: leases.md, 3.2.
const mostReclaimed = 256

// judgeBatches looks in the append-only file for how many accounts each script
// has taken back: it has one increment of the count for each.
func (r *rig) judgeBatches() error {
	path, err := r.store.master.AOF()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for {
		var found bool
		if _, text, found = bytes.Cut(text, []byte("\r\nreclaimed\r\n$")); !found {
			return nil
		}
		lines := bytes.SplitN(text[:min(len(text), 40)], []byte("\r\n"), 3)
		if len(lines) < 3 {
			return nil
		}
		if n, err := strconv.Atoi(string(lines[1])); err == nil && n > mostReclaimed {
			r.violate("unbounded batch", "a script took back %d accounts; no more than %d may hold Redis up", n, mostReclaimed)
		}
	}
}

// quiet brings the run to rest and counts: with every user's account given back
// and every worker alive, nothing is leased, and every account is in its place.
func (r *rig) quiet(ctx context.Context) error {
	for _, s := range r.slots {
		if err := s.process.tell("drain"); err != nil {
			return err
		}
	}
	patience := 30 * time.Second
	drain, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("within %v", patience))
	defer cancel()
	for _, s := range r.slots {
		if err := s.process.hear(drain, "drained"); err != nil {
			return err
		}
	}
	if err := r.judgeRest(drain); err != nil {
		return err
	}
	if err := r.judgeBatches(); err != nil {
		return err
	}
	if err := r.direct.rdb.BgRewriteAOF(ctx).Err(); err != nil {
		return fmt.Errorf("rewrite append-only file: %w", err)
	}
	for _, s := range r.slots {
		if err := s.process.tell("work"); err != nil {
			return err
		}
	}
	if r.lasts == 0 { // a long run's are long, and read once, at its end
		if err := r.judgeHistories(); err != nil {
			return err
		}
	}
	return r.settle(ctx)
}

// judgeRest waits until nothing is leased, as long as accounts of dead holders
// may take to come back, and audits the pool.
func (r *rig) judgeRest(ctx context.Context) error {
	back := r.settings.LeaseTTL + r.settings.LockDelay + 5*time.Second
	for began := time.Now(); ; {
		s, err := count(ctx, r.direct.pool)
		if err == nil && s.leased == 0 {
			break
		}
		if time.Since(began) > back {
			holders, _ := r.direct.pool.Holders(ctx)
			r.violate("leaked", "%d accounts are leased %v after every user has given its own back (%v; %+v)", s.leased, back, err, holders)
			break
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	all, err := r.direct.pool.Stats(ctx)
	if err != nil {
		return err
	}
	var known int64
	for _, role := range all {
		known += role.Known
	}
	if known != int64(r.accounts) {
		r.violate("not conserved", "the pool knows %d accounts, and was given %d: %+v", known, r.accounts, all)
	}
	audit, err := r.direct.pool.Audit(ctx)
	if err != nil {
		return err
	}
	if audit.Found > 0 || audit.Accounts != r.accounts {
		r.violate("not conserved", "the audit of %d accounts finds %d problems: %q", audit.Accounts, audit.Found, audit.Problems)
	}
	r.report.QuietPoints++
	r.report.Audited += audit.Accounts
	return nil
}
