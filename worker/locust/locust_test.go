package locust

import (
	"encoding/json"
	"io"
	"maps"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myzhan/boomer"
	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

// These tests are of what does not run boomer, which races with itself. The
// whole is tested with a real Locust master in cmd/throng.

func delta(name string, failures int64, took ...time.Duration) opstats.Delta {
	d := opstats.Delta{Type: "PUBLISH", Name: name, Count: int64(len(took)), Bytes: 10 * int64(len(took)), Took: new(hist.Histogram), Failures: failures}
	for _, t := range took {
		d.Took.Record(t)
	}
	if failures > 0 {
		d.Errors = map[string]int64{"refused": failures}
	}
	return d
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	var pending []opstats.Delta
	pending = add(pending, delta("a", 1, 300*time.Microsecond, 147*time.Millisecond))
	pending = add(pending, opstats.Delta{Type: "PUBLISH", Name: "a", Cancelled: 3})
	pending = add(pending, delta("a", 0, 3432*time.Millisecond))
	lost := delta("crowd", 1, time.Millisecond)
	lost.Count++ // a message without a time
	pending = add(pending, lost)
	now := time.Unix(1_800_000_000, 0)
	got := statistics(pending, map[string]int{"Student": 9, "Proctor": 1}, now)
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Stats []row          `json:"stats"`
		Total row            `json:"stats_total"`
		Users int            `json:"user_count"`
		Of    map[string]int `json:"user_classes_count"`
		Errs  map[string]struct {
			Error       string `json:"error"`
			Occurrences int    `json:"occurrences"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Stats) != 2 || report.Users != 10 || report.Of["Student"] != 9 || len(report.Errs) != 2 {
		t.Fatalf("%s", text)
	}
	a := report.Stats[0]
	if a.Name != "a" || a.Requests != 3 || a.Failures != 1 || a.None != 0 || math.Abs(a.Sum-3579.3) > 0.01 || a.Bytes != 30 ||
		!maps.Equal(a.Times, map[string]int{"0": 1, "150": 1, "3400": 1}) || a.PerSecond["1800000000"] != 3 {
		t.Errorf("%+v", a)
	}
	if crowd := report.Stats[1]; crowd.Requests != 2 || crowd.None != 1 {
		t.Errorf("%+v", crowd)
	}
	if report.Total.Requests != 5 || report.Total.Failures != 2 || report.Total.Name != "Aggregated" {
		t.Errorf("%+v", report.Total)
	}
}

type row struct {
	Name      string         `json:"name"`
	Requests  int            `json:"num_requests"`
	Failures  int            `json:"num_failures"`
	None      int            `json:"num_none_requests"`
	Sum       float64        `json:"total_response_time"`
	Bytes     int            `json:"total_content_length"`
	Times     map[string]int `json:"response_times"`
	PerSecond map[string]int `json:"num_reqs_per_sec"`
}

func FuzzTick(f *testing.F) {
	f.Add(`{"test":"1","users":{"Student":3}}`)
	f.Add(`{"users":{"Student":-3}}`)
	f.Fuzz(func(t *testing.T, text string) {
		tick, err := parseTick(text)
		if err != nil {
			return
		}
		for class, n := range tick.Users {
			if n < 0 {
				t.Errorf("%d users of class %q", n, class)
			}
		}
	})
}

// joined returns a bridge as it is once a master has acknowledged it.
func joined() (*Bridge, *link) {
	b := New(Config{Address: "127.0.0.1:1", Log: zap.NewNop()})
	b.enter()
	return b, &link{boomer: boomer.NewBoomer("127.0.0.1", 1)} // takes messages, and sends none
}

func TestOrders(t *testing.T) {
	t.Parallel()
	b, l := joined()
	changed := b.Orders().Changed
	b.onTick(`{"test":"","users":{}}`)
	b.onSpawn(10, 10)
	if o := b.Orders(); o.Wanted() != 10 || o.Classes != nil || o.Test != "" {
		t.Errorf("after a spawn: %+v", o)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	b.onTick([]byte(`{"test":"t1","users":{"Student":9,"Proctor":1}}`))
	if o := b.Orders(); o.Test != "t1" || o.Classes["Student"] != 9 {
		t.Errorf("after a tick: %+v", o)
	}
	b.onSpawn(20, 20)
	if o := b.Orders(); o.Classes != nil || o.Test != "t1" {
		t.Errorf("classes of the order before: %+v", o)
	}
	b.onTick(`{"test":"t1","users":{"Student":18,"Proctor":2}}`)
	hurried := false
	b.Hurry(func() { hurried = true })
	b.onStop(l)
	b.onStop(l) // a quit after a stop
	if o := b.Orders(); o.On || o.Stops != 1 || o.Wanted() != 0 || !hurried {
		t.Errorf("after a stop: %+v, hurried %v", o, hurried)
	}
	// The id of the test before is not that of the next.
	b.onSpawn(1, 1)
	if o := b.Orders(); o.Test != "" || !o.On {
		t.Errorf("after the next spawn: %+v", o)
	}
	b.leave()
	if o := b.Orders(); o.Joined || o.Wanted() != 0 || o.Stops != 1 {
		t.Errorf("without a master: %+v", o)
	}
}

func TestTicksThatStayAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := joined()
		b.onSpawn(5, 5)
		time.Sleep(3 * time.Second)
		b.look()
		if !b.Orders().Weights {
			t.Error("without ticks the weights decide")
		}
		b.onTick(`{"test":"t","users":{"Student":5}}`)
		if o := b.Orders(); o.Weights || o.Wanted() != 5 {
			t.Errorf("with a tick: %+v", o)
		}
		time.Sleep(59 * time.Second)
		b.look()
		if b.Orders().Wanted() != 5 {
			t.Error("users stopped before the dead man's switch")
		}
		time.Sleep(2 * time.Second)
		b.look()
		if b.Orders().Wanted() != 0 {
			t.Error("users go on without a sign of life")
		}
		b.onTick(`{"test":"t","users":{"Student":5}}`)
		if b.Orders().Wanted() != 5 {
			t.Error("users stay away though the master is back")
		}
	})
}

// What is sent says how many users of each class there are, so it waits for that.
func TestResultsWaitForTheUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, l := joined()
		b.onSpawn(5, 5)
		b.Report([]opstats.Delta{delta("a", 0, time.Millisecond)})
		b.flush(l)
		if len(b.pending) != 1 {
			t.Fatal("sent without the users")
		}
		b.Running(map[string]int{"Student": 5})
		b.flush(l)
		if len(b.pending) != 0 {
			t.Error("not sent though the users are known")
		}
		b.Running(map[string]int{"Student": 3})
		b.Report([]opstats.Delta{delta("a", 0, time.Millisecond)})
		b.flush(l)
		time.Sleep(4 * time.Second)
		b.flush(l)
		if len(b.pending) != 0 {
			t.Error("not sent though it has waited for long")
		}
	})
}

func TestRelay(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"master", "boomer"} {
		ours, theirs := net.Pipe()
		r, port, err := newRelay(ours)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = conn.Write([]byte("hello")) }()
		text := make([]byte, 5)
		if _, err := io.ReadFull(theirs, text); err != nil || !strings.HasPrefix(string(text), "hello") {
			t.Errorf("%q, %v", text, err)
		}
		if first == "master" {
			theirs.Close()
		} else {
			conn.Close()
		}
		<-r.over
		if r.left != (first == "boomer") {
			t.Errorf("%s hung up, left is %v", first, r.left)
		}
		r.close()
		conn.Close()
		theirs.Close()
	}
	// Nobody comes: it ends all the same.
	ours, theirs := net.Pipe()
	defer theirs.Close()
	r, _, err := newRelay(ours)
	if err != nil {
		t.Fatal(err)
	}
	r.close()
}
