package scenarios

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"

	"github.com/throng-load/throng/internal/keyspace"
)

// Check returns what is wrong with the values of s; nothing if all is well.
// ParseSpec has checked what it returns: call Check after flags or a web page
// have changed it. The problems have a path and a text, but no place.
func (s *Spec) Check() []Problem {
	c := new(checker)
	c.target(s.Target)
	c.behaviour(s.Behaviour)
	// Without a scenario the pool has no default: that is not its own mistake.
	c.require(s.Behaviour == nil && s.Accounts.Pool == "" || keyspace.Check(s.Accounts.Pool) == nil, "accounts.pool",
		"%s must be 1 to 64 letters, digits, dots, dashes and underscores", quote(s.Accounts.Pool))
	c.accounts(s.Accounts)
	c.load(s.Load, s.Safety)
	c.classes(s.Load.Classes, s.Behaviour)
	c.probe(s.Probe)
	c.thresholds(s.Thresholds, s.Probe)
	c.require(s.Safety.MaxUsers >= 1, "safety.max_users", "%d is not above 0", s.Safety.MaxUsers)
	c.trust(s.Trust)
	c.require(s.DeadMan >= shortestDeadMan, "dead_man", "%v is below %v: heartbeats are a second apart", s.DeadMan, shortestDeadMan)
	c.most(s)
	return c.problems
}

// shortestDeadMan is long enough for a heartbeat to fail and be made again.
const shortestDeadMan = 3 * second

// checker collects problems.
type checker struct{ problems []Problem }

// require notes a problem at path unless ok.
func (c *checker) require(ok bool, path, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, Problem{Path: path, Text: oneLine(fmt.Sprintf(format, args...))})
	}
}

// target never repeats the URL: it may hold a password.
func (c *checker) target(target string) {
	if target == "" {
		c.require(false, "target", "is missing: give a URL such as http+poll://127.0.0.1:9090")
		return
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		c.require(false, "target", "is not a URL such as http+poll://127.0.0.1:9090")
		return
	}
	c.noPassword("target", u)
}

// noPassword keeps secrets out of what is saved, shown and sent to workers.
func (c *checker) noPassword(path string, u *url.URL) {
	_, secret := u.User.Password()
	c.require(!secret, path, "must not contain a password: reports show it")
}

// behaviour asks the scenario about its parameters.
func (c *checker) behaviour(b Behaviour) {
	if b == nil {
		return // the scenario is missing, which ParseSpec reports
	}
	for _, err := range flatten(b.Validate()) {
		var param *ParamError
		if errors.As(err, &param) {
			c.require(false, join("params", param.Param), "%s", param.Text)
		} else {
			c.require(false, "params", "%v", err)
		}
	}
}

// flatten is the errors that errors.Join joined, or err alone.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func (c *checker) accounts(a AccountsSpec) {
	c.require(a.Size >= 0, "accounts.size", "%d is below 0", int(a.Size))
	c.require(a.Headroom >= 0 && a.Headroom <= 10, "accounts.headroom", "%v is not from 0 to 10; 0.34 is a third more", a.Headroom)
	c.require(a.LowWater >= 0 && a.LowWater <= 1, "accounts.low_water", "%v is not from 0 to 1", a.LowWater)
	c.require(a.Max >= 0, "accounts.max", "%d is below 0, which is no limit", a.Max)
	c.require(a.Max <= 0 || int(a.Size) <= a.Max, "accounts.size", "%v is above accounts.max %d", a.Size, a.Max)
	c.require(a.LeaseWait > 0, "accounts.lease_wait", "%v is not above 0", a.LeaseWait)
	c.rotation(a)
	c.provision(a.Provision)
}

// most holds the accounts that the run wants against accounts.max. It asks the
// scenario, so nothing else may be wrong.
func (c *checker) most(s *Spec) {
	if len(c.problems) > 0 || s.Behaviour == nil || s.Accounts.Max == 0 {
		return
	}
	total := 0
	for _, n := range s.WantedAccounts() {
		total += n
	}
	c.require(total <= s.Accounts.Max, "accounts.max", "the run wants %d accounts and may have %d: raise accounts.max, or run fewer users", total, s.Accounts.Max)
}

func (c *checker) load(l LoadSpec, s SafetySpec) {
	c.require(l.Users >= 1, "load.users", "%d is not above 0", l.Users)
	c.require(l.Users <= s.MaxUsers || s.MaxUsers < 1, "load.users",
		"load.users %d is above safety.max_users %d: raise safety.max_users if you mean it", l.Users, s.MaxUsers)
	c.require(l.SpawnRate > 0 && !math.IsInf(l.SpawnRate, 0), "load.spawn_rate", "%v is not a number above 0", l.SpawnRate)
	c.require(l.RunTime >= 0, "load.run_time", "%v is below 0", l.RunTime)
	c.require(l.StopTimeout >= 0, "load.stop_timeout", "%v is below 0", l.StopTimeout)
	c.stages(l)
}

func (c *checker) probe(p ProbeSpec) {
	c.require(p.Rate >= perHour, "probe.rate", "%v is not at least %v", p.Rate, perHour)
	for i, route := range p.Routes {
		path := fmt.Sprintf("probe.routes[%d]", i)
		known := []string{RouteQuiet, RouteCrowd}
		if !slices.Contains(known, route) {
			c.require(false, path, "%s", unknownName("route", route, known))
			continue
		}
		c.require(slices.Index(p.Routes, route) == i, path, "%s is given twice", route)
	}
	c.require(p.OnTime > 0, "probe.on_time", "%v is not above 0", p.OnTime)
	c.require(p.OnTime < p.Timeout, "probe.on_time", "%v is not below probe.timeout %v", p.OnTime, p.Timeout)
}

// thresholds must be about something that is measured.
func (c *checker) thresholds(thresholds []Threshold, p ProbeSpec) {
	for i, t := range thresholds {
		measured := t.Metric == Failures || len(p.Routes) > 0
		c.require(measured, fmt.Sprintf("thresholds[%d]", i), "%s is not measured: probe.routes is empty", t.Metric)
	}
}

func (c *checker) trust(t TrustSpec) {
	c.require(t.CPU > 0 && t.CPU <= 1, "trust.cpu", "%v is not above 0%% and up to 100%%", t.CPU)
	c.require(t.CPUFor > 0, "trust.cpu_for", "%v is not above 0", t.CPUFor)
	c.require(t.SchedLag > 0, "trust.sched_lag", "%v is not above 0", t.SchedLag)
	c.require(t.LateSends >= 0 && t.LateSends <= 1, "trust.late_sends", "%v is not from 0%% to 100%%", t.LateSends)
	c.require(t.Excluded >= 0 && t.Excluded <= 1, "trust.excluded", "%v is not from 0%% to 100%%", t.Excluded)
	c.require(t.Unwatched >= 0 && t.Unwatched <= 1, "trust.unwatched", "%v is not from 0%% to 100%%", t.Unwatched)
}
