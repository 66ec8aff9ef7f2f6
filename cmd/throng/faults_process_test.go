//go:build process

package main_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/master/report"
)

// Every test here breaks a part of a swarm of real processes while it runs, and
// holds what the run says of itself against what the target has counted.

// A standby takes the run over when the master dies: no session is cut short, and
// nothing is missing.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	s := startSwarm(t, address, file, 2, 40, "16s")
	s.master.says(`users 40 `, 30*time.Second)
	standby := startMaster(t, s, file, 2, 40, "16s", "--standby")
	standby.says("standing by", 10*time.Second)
	before := publishesIn(s.master, "")
	s.master.signal(syscall.SIGKILL)
	standby.says("run taken up", 10*time.Second)
	until(t, "the totals", 5*time.Second, func() bool { return publishesIn(standby, "run taken up") >= before })
	if code := standby.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	if reclaimed := checkAccountsAreBack(t, result); reclaimed != 0 {
		t.Errorf("%d accounts were reclaimed", reclaimed)
	}
	happened(t, result, "master_changed")
	if result.Run.Validity.State != "valid" || result.Run.UsersPeak != 40 {
		t.Errorf("run %+v", result.Run)
	}
	for _, op := range result.Operations {
		if op.Cancelled > 0 && (op.Type == "PUBLISH" || op.Type == "LOGIN") {
			t.Errorf("%d of %s %s were cut short", op.Cancelled, op.Type, op.Name)
		}
	}
}

// A standby that was not needed ends with the run.
func TestStandbyNotNeeded(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	s := startSwarm(t, address, file, 1, 10, "3s")
	s.master.says("run begins", 30*time.Second) // or the other would lead
	standby := startMaster(t, s, file, 1, 10, "3s", "--standby")
	standby.says("standing by", 10*time.Second)
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if code := standby.wait(10 * time.Second); code != 0 {
		t.Errorf("the standby's exit code is %d", code)
	}
	standby.says("the run has come to its end", time.Second)
}

// A worker that is stopped for longer than its lease and goes on doubles nobody,
// and everything that it has ever counted counts.
func TestWorkerPaused(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	s := startSwarm(t, address, spec(t, address), 2, 40, "20s")
	s.master.says(`users 40 `, 30*time.Second)
	s.workers[0].signal(syscall.SIGSTOP)
	s.master.says(`member lost`, 10*time.Second)
	until(t, "the other to take the users over", 15*time.Second, func() bool { return usersAfter(s.master, "member lost") == 40 })
	s.workers[0].signal(syscall.SIGCONT)
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
	happened(t, result, "worker_lost", "member_back")
	if result.Run.Validity.State != "partial" {
		t.Errorf("validity %+v", result.Run.Validity)
	}
	checkUndamaged(t, result)
}

// A worker that is cut off from Redis, and not from the target, begins nothing
// new, is fenced before its accounts are given away, and comes back as a late one.
func TestWorkerCutOffFromRedis(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	proxy := startProxy(t, strings.TrimPrefix(redistest.URL(t), "redis://"))
	s := startSwarmOn(t, redistest.URL(t), []string{"redis://" + proxy.Listen}, address, spec(t, address), 2, 40, "22s")
	s.master.says(`users 40 `, 30*time.Second)
	proxy.Stop()
	s.workers[0].says("no user and no session begins", 10*time.Second)
	s.workers[0].says("leases are suspended", 10*time.Second)
	until(t, "the other to take the users over", 15*time.Second, func() bool { return usersAfter(s.master, "member lost") == 40 })
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	s.workers[0].says("in touch with Redis again", 10*time.Second)
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	if reclaimed := checkAccountsAreBack(t, result); reclaimed == 0 {
		t.Error("no account of the worker that was cut off was reclaimed")
	}
	happened(t, result, "worker_lost", "member_back")
	checkUndamaged(t, result)
}

// Redis is killed and started again with its data: everybody waits for it, nothing
// is counted twice, and nothing is missing.
func TestRedisRestartedWithItsData(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	server := redistest.Start(t, redistest.Options{AppendOnly: true})
	s := startSwarmOn(t, server.URL(), nil, address, spec(t, address), 2, 40, "20s")
	s.master.says(`users 40 `, 30*time.Second)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s.master.says("Redis does not answer", 10*time.Second)
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	s.master.says("Redis answers again", 10*time.Second)
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
	if v := result.Run.Validity; v.State != "partial" || !strings.Contains(v.Excluded[0].Reason, "Redis was restarted") {
		t.Errorf("validity %+v, want the time in which nothing was leased to be left out", v)
	}
	checkUndamaged(t, result)
}

// Redis stands still for longer than the dead man's switch allows: users end,
// and start again when it answers.
func TestRedisAwayForLong(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	server := redistest.Start(t, redistest.Options{AppendOnly: true})
	s := startSwarmOn(t, server.URL(), nil, address, spec(t, address, "dead_man: 5s"), 2, 40, "26s")
	s.master.says(`users 40 `, 30*time.Second)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, worker := range s.workers {
		worker.says("no user and no session begins", 10*time.Second)
		worker.says("nobody controls the swarm: users end", 10*time.Second)
	}
	quiet := requests(t, address)
	if err := server.Cont(); err != nil {
		t.Fatal(err)
	}
	s.master.says("Redis answers again", 10*time.Second)
	until(t, "the users to be back", 15*time.Second, func() bool { return usersAfter(s.master, "Redis answers again") == 40 })
	if requests(t, address) <= quiet {
		t.Error("users are back and do nothing")
	}
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
	happened(t, result, "redis_away")
	checkUndamaged(t, result)
}

// Redis loses everything: the run is over soon, invalid, with what was known.
func TestRedisEmptied(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	server := redistest.Start(t, redistest.Options{})
	s := startSwarmOn(t, server.URL(), nil, address, spec(t, address), 2, 40, "60s")
	s.master.says(`users 40 `, 30*time.Second)
	until(t, "figures", 10*time.Second, func() bool { return publishesIn(s.master, "") > 0 })
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if code := s.master.wait(10 * time.Second); code != 98 {
		t.Errorf("exit code %d, want 98", code)
	}
	result := summary(t, s.file)
	if v := result.Run.Validity; v.State != "invalid" || len(v.Reasons) == 0 || !strings.Contains(v.Reasons[0], "Redis lost") {
		t.Errorf("validity %+v", v)
	}
	if operations(result, "PUBLISH", "") == 0 {
		t.Error("the figures so far are gone")
	}
	if c := counters(t, address); c.StaleTokenRequests != 0 {
		t.Errorf("%d requests came under a lease that had run out", c.StaleTokenRequests)
	}
	// No load goes on that nobody knows of.
	last := requests(t, address)
	until(t, "the users to end", 10*time.Second, func() bool {
		before := last
		last = requests(t, address)
		return last == before
	})
}

// With the master gone for good the users end; a master that comes back after
// that brings them back.
func TestDeadMansSwitch(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address, "dead_man: 4s")
	s := startSwarm(t, address, file, 2, 40, "26s")
	s.master.says(`users 40 `, 30*time.Second)
	s.master.signal(syscall.SIGKILL)
	for _, worker := range s.workers {
		worker.says("nobody controls the swarm: users end", 15*time.Second)
	}
	s.master = startMaster(t, s, file, 2, 40, "26s")
	s.master.says("run taken up", 10*time.Second)
	until(t, "the users to be back", 15*time.Second, func() bool { return usersAfter(s.master, "run taken up") == 40 })
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
	happened(t, result, "master_changed")
}

// A load in stages, from its file: up, a step, down.
func TestStages(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address, `load:
  spawn_rate: 100
  stages:
    - { for: 2s, users: 20 }
    - { for: 0s, users: 50 }
    - { for: 4s, users: 50 }
    - { for: 3s, users: 10, spawn_rate: 40 }`)
	p := start(t, "run", "-f", file, "--workers", "3", "--json", "summary.json")
	p.says(`users 50 `, 30*time.Second)
	p.says(`users 10 .*peak 50`, 30*time.Second)
	if code := p.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, p.cmd.Dir+"/summary.json")
	checkAgainstTarget(t, result, counters(t, address))
	if d := result.Run.DurationS; result.Run.UsersPeak != 50 || d < 9 || d > 16 {
		t.Errorf("%d users at peak in %v s, want 50 in 9 s and what the probe takes", result.Run.UsersPeak, d)
	}
}

// happened makes sure that such events are in the timeline, with an end that is
// not before their start.
func happened(t *testing.T, s *report.Summary, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		found := false
		for _, event := range s.Run.Events {
			found = found || event.Kind == kind
			if event.To.Before(event.From) {
				t.Errorf("event %+v ends before it begins", event)
			}
		}
		if !found {
			t.Errorf("no %s in %+v", kind, s.Run.Events)
		}
	}
}

// checkUndamaged makes sure that the figures without what does not count are a
// part of those of the whole run, and add up.
func checkUndamaged(t *testing.T, s *report.Summary) {
	t.Helper()
	u := s.Undamaged
	if u == nil {
		t.Error("no figures without the damaged windows")
		return
	}
	whole, rest := operations(s, "PUBLISH", ""), operations(&report.Summary{Operations: u.Operations}, "PUBLISH", "")
	if rest <= 0 || rest >= whole || u.DurationS <= 0 || u.DurationS >= s.Run.DurationS {
		t.Errorf("%d of %d publishes, %v of %v s remain", rest, whole, u.DurationS, s.Run.DurationS)
	}
	for _, r := range append(u.Delivery.Probe, s.Delivery.Probe...) {
		if r.Sent == 0 || r.Sent != r.OnTime+r.Late+r.Lost+r.Open || r.Open < 0 {
			t.Errorf("route %+v does not add up", r)
		}
	}
}

// publishesIn is the number of publishes in the newest table printed after a mark.
func publishesIn(p *process, mark string) (n int64) {
	_, text, _ := strings.Cut(p.out.String(), mark)
	if i := strings.LastIndex(text, "elapsed "); i >= 0 {
		text = text[i:]
	}
	for _, row := range publishRow.FindAllStringSubmatch(text, -1) {
		count, _ := strconv.ParseInt(row[1], 10, 64)
		n += count
	}
	return n
}

var publishRow = regexp.MustCompile(`(?m)^PUBLISH\s+class/\w+(?: \w+)?\s+(\d+)`)

// requests is how many requests the target has answered.
func requests(t *testing.T, address string) (n int64) {
	t.Helper()
	for _, statuses := range counters(t, address).Requests {
		for _, count := range statuses {
			n += count
		}
	}
	return n
}

// startProxy puts a proxy in front of a Redis.
func startProxy(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "redis", "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Stop() })
	return proxy
}

// seenRequests is a proxy before the target that remembers who did what when.
type seenRequests struct {
	address string

	mu        sync.Mutex
	publishes []seenRequest
	logins    []seenRequest
	number    map[string]int // of users, by fencing token
}

type seenRequest struct {
	token string
	at    time.Time
}

// watchTarget starts one before a target.
func watchTarget(t *testing.T, address string) *seenRequests {
	t.Helper()
	seen := &seenRequests{number: make(map[string]int)}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			seen.note(r.URL.Path, r.Header.Get("X-Throng-Lease"), body)
		}
		forward.ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	seen.address = listener.Addr().String()
	return seen
}

func (s *seenRequests) note(path, token string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case path == "/login":
		s.logins = append(s.logins, seenRequest{token, time.Now()})
	case strings.HasSuffix(path, "/events"):
		var event struct {
			Throng struct{ Src, Pub string }
		}
		if json.Unmarshal(body, &event) == nil && event.Throng.Src == "load" {
			number, _, _ := strings.Cut(event.Throng.Pub, "/")
			s.number[token], _ = strconv.Atoi(number)
			s.publishes = append(s.publishes, seenRequest{token, time.Now()})
		}
	}
}

// by is how many publishes and log-ins certain users made in a time. A log-in of
// which nobody knows whose it was counts too.
func (s *seenRequests) by(users func(number int) bool, from, to time.Time) (publishes, logins int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := func(all []seenRequest) (n int64) {
		for _, r := range all {
			number, known := s.number[r.token]
			if r.at.After(from) && r.at.Before(to) && (!known || users(number)) {
				n++
			}
		}
		return n
	}
	return count(s.publishes), count(s.logins)
}

// usersOf says which user numbers are a worker's, as Redis has it.
func usersOf(t *testing.T, s *swarm, worker *process) func(number int) bool {
	t.Helper()
	opt, err := redis.ParseURL(s.redis)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	key := "throng:{swarm:" + name(t) + "}:"
	states, err := rdb.HGetAll(t.Context(), key+"states").Result()
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range states {
		var state struct{ PID int }
		if err := json.Unmarshal([]byte(text), &state); err != nil {
			t.Fatal(err)
		}
		if state.PID != worker.cmd.Process.Pid {
			continue
		}
		slots, err := rdb.HGet(t.Context(), key+"slots", id).Result()
		if err != nil {
			t.Fatal(err)
		}
		_, bitmap, _ := strings.Cut(slots, ":")
		return func(number int) bool {
			slot := number % (8 * len(bitmap))
			return bitmap[slot/8]&(1<<(slot%8)) != 0
		}
	}
	t.Fatalf("no worker %d in %v", worker.cmd.Process.Pid, states)
	return nil
}
