//go:build compose

package deploy_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The pages, at the ports that newSwarm chooses.
const (
	throngPage = "http://127.0.0.1:18089"
	locustPage = "http://127.0.0.1:18090"
)

// page is what Locust's page shows of a swarm; Throng's master has the same.
type page struct {
	State string `json:"state"`
	Users int    `json:"user_count"`
	Stats []struct {
		Type     string `json:"method"`
		Name     string `json:"name"`
		Requests int64  `json:"num_requests"`
		Failures int64  `json:"num_failures"`
	} `json:"stats"`
	Workers []struct {
		State string `json:"state"`
	} `json:"workers"`
}

// requests adds up what a type of operation was counted.
func (p page) requests(kind string) (n int64) {
	for _, s := range p.Stats {
		if s.Type == kind {
			n += s.Requests
		}
	}
	return n
}

// ask sends a request to a page; fields make it a POST.
func ask(t *testing.T, address string, fields url.Values) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	method := http.MethodGet
	if fields != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// shows waits until a page shows what is wanted.
func shows(t *testing.T, address, what string, limit time.Duration, wanted func(page) bool) page {
	t.Helper()
	deadline := time.After(limit)
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		var p page
		text, err := ask(t, address+"/stats/requests", nil)
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err == nil && wanted(p) {
			return p
		}
		select {
		case <-deadline:
			t.Fatalf("%s did not show %s within %v: %+v (%v)", address, what, limit, p, err)
		case <-ticker.C:
		}
	}
}

// A Locust master leads workers in containers: start, edit, stop.
func TestLocustLeads(t *testing.T) {
	s := newSwarm(t, "--profile", "locust")
	s.run(0, "build")
	if got := docker(t, "run", "--rm", "-v", absolute(t, "throng.yaml")+":/throng.yaml:ro", "throng:local", "locustfile", "-f", "/throng.yaml"); got != strings.TrimSpace(text(t, "locustfile.py")) {
		t.Errorf("deploy/locustfile.py is not what `throng locustfile -f deploy/throng.yaml` prints:\n%s", got)
	}
	// Not the master: it leads another swarm.
	s.run(0, "up", "--detach", "--wait", "locust", "locust-worker", "locust-probe")
	shows(t, locustPage, "two workers", 30*time.Second, func(p page) bool { return len(p.Workers) == 2 })

	if text, err := ask(t, locustPage+"/swarm", url.Values{"user_count": {"40"}, "spawn_rate": {"20"}}); err != nil {
		t.Fatalf("%v %s", err, text)
	}
	shows(t, locustPage, "40 users, and what they and the probe do", time.Minute, func(p page) bool {
		return p.Users == 40 && p.requests("PUBLISH") > 100 && p.requests("DELIVER") > 0 && p.requests("PROBE") > 100
	})
	if text, err := ask(t, locustPage+"/swarm", url.Values{"user_count": {"80"}, "spawn_rate": {"20"}}); err != nil {
		t.Fatalf("%v %s", err, text)
	}
	shows(t, locustPage, "80 users", time.Minute, func(p page) bool { return p.Users == 80 })
	if text, err := ask(t, locustPage+"/stop", nil); err != nil {
		t.Fatalf("%v %s", err, text)
	}
	last := shows(t, locustPage, "the end", time.Minute, func(p page) bool {
		for _, w := range p.Workers {
			if w.State != "ready" {
				return false
			}
		}
		return p.Users == 0 && p.State == "stopped" && len(p.Workers) == 2
	})
	// The workers hold their places in the pool until they end.
	s.run(0, "stop", "locust-worker", "locust-probe")
	for _, row := range last.Stats {
		if row.Failures != 0 {
			t.Errorf("%s %s: %d of %d failed", row.Type, row.Name, row.Failures, row.Requests)
		}
	}
	if stats := s.run(0, "run", "--rm", "accounts", "accounts", "stats", "-f", "/etc/throng/throng.yaml", "--audit"); !strings.Contains(stats, "0 holders: conserved") {
		t.Errorf("accounts after the stop:\n%s", stats)
	}
	if stale := s.counters().StaleTokenRequests; stale != 0 {
		t.Errorf("%d requests under leases that had run out", stale)
	}
}

// What the README promises: `docker compose up`, and the page leads.
func TestPageLeads(t *testing.T) {
	s := newSwarm(t)
	s.run(0, "up", "--detach", "--build", "--wait")
	if text, err := ask(t, throngPage+"/", nil); err != nil || !strings.Contains(string(text), "/assets/") {
		t.Errorf("the page is not the built one: %v %.300s", err, text)
	}
	shows(t, throngPage, "two workers", 30*time.Second, func(p page) bool { return len(p.Workers) == 2 })
	if text, err := ask(t, throngPage+"/swarm", url.Values{"user_count": {"40"}, "spawn_rate": {"20"}}); err != nil {
		t.Fatalf("%v %s", err, text)
	}
	shows(t, throngPage, "40 users at work", time.Minute, func(p page) bool { return p.Users == 40 && p.requests("PUBLISH") > 50 })
	s.run(0, "up", "--detach", "--no-recreate", "--scale", "worker=3", "worker")
	shows(t, throngPage, "a third worker", 30*time.Second, func(p page) bool { return len(p.Workers) == 3 && p.Users == 40 })
	// While the page leads its swarm, another run can be made.
	s.run(0, "run", "--rm", "trial", "-u", "20", "-r", "20", "-t", "5s")
	if text, err := ask(t, throngPage+"/stop", nil); err != nil {
		t.Fatalf("%v %s", err, text)
	}
	shows(t, throngPage, "the end", time.Minute, func(p page) bool { return p.Users == 0 && p.State == "stopped" })
}
