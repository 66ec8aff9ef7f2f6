package target_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/target"
)

func TestParseFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		args []string
		want string // as JSON
	}{
		{nil, `{"delay":"0s","loss":0,"duplicate":0,"refuse":0}`},
		{[]string{"loss=0.01"}, `{"delay":"0s","loss":0.01,"duplicate":0,"refuse":0}`},
		{[]string{" loss = 1 ", "duplicate=0.5", "refuse=1e-3", "delay=20ms"}, `{"delay":"20ms","loss":1,"duplicate":0.5,"refuse":0.001}`},
		{[]string{"delay=constant:20ms"}, `{"delay":"20ms","loss":0,"duplicate":0,"refuse":0}`},
		{[]string{"delay=uniform:5ms, 50ms"}, `{"delay":"uniform:5ms,50ms","loss":0,"duplicate":0,"refuse":0}`},
		{[]string{"delay=exponential:20ms"}, `{"delay":"exponential:20ms","loss":0,"duplicate":0,"refuse":0}`},
		{[]string{"delay=lognormal:1m30s,0.5"}, `{"delay":"lognormal:1m30s,0.5","loss":0,"duplicate":0,"refuse":0}`},
	} {
		faults, err := target.ParseFaults(row.args)
		if err != nil {
			t.Errorf("%q: %v", row.args, err)
			continue
		}
		if got, err := json.Marshal(faults); err != nil || string(got) != row.want {
			t.Errorf("%q: got %s, %v, want %s", row.args, got, err, row.want)
		}
	}
}

func TestParseFaultsNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		args []string
		want []string // parts of the error
	}{
		{[]string{"loss"}, []string{`"loss"`, "key=value"}},
		{[]string{""}, []string{"key=value"}},
		{[]string{"loss=2"}, []string{"loss", `"2"`, "from 0 to 1"}},
		{[]string{"loss=-0.1"}, []string{"loss", `"-0.1"`}},
		{[]string{"duplicate=NaN"}, []string{"duplicate", `"NaN"`}},
		{[]string{"refuse=1%"}, []string{"refuse", `"1%"`}},
		{[]string{"refuse="}, []string{"refuse", `""`}},
		{[]string{"loss=0.1", "loss=0.2"}, []string{`"loss=0.2"`, "twice"}},
		{[]string{"reorder=0.1"}, []string{`"reorder"`, "not available yet"}},
		{[]string{"stall=1s"}, []string{`"stall"`, "not available yet"}},
		{[]string{"los=0.1"}, []string{`"los"`, "delay, loss, duplicate, refuse"}},
		{[]string{"delay=20"}, []string{"delay", `"20"`, "20ms"}},
		{[]string{"delay=-1ms"}, []string{"delay", `"-1ms"`, "0s to 1h"}},
		{[]string{"delay=2h"}, []string{"delay", `"2h"`, "0s to 1h"}},
		{[]string{"delay=uniform:5ms"}, []string{"delay", `"uniform:5ms"`}},
		{[]string{"delay=uniform:50ms,5ms"}, []string{"delay", "smaller"}},
		{[]string{"delay=uniform:5ms,x"}, []string{"delay", "uniform:5ms,50ms"}},
		{[]string{"delay=lognormal:20ms,x"}, []string{"delay", "sigma"}},
		{[]string{"delay=lognormal:20ms,NaN"}, []string{"delay", "sigma"}},
		{[]string{"delay=normal:20ms,5ms"}, []string{"delay", "normal"}},
		{[]string{"delay=" + strings.Repeat("x", 1000)}, []string{"delay"}},
	} {
		_, err := target.ParseFaults(row.args)
		if err == nil {
			t.Errorf("%q: no error", row.args)
			continue
		}
		for _, part := range row.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q is not in %q", row.args, part, err)
			}
		}
		if len(err.Error()) > 250 {
			t.Errorf("%.40q: the error has %d bytes", row.args, len(err.Error()))
		}
	}
}

func TestFaultsFromJSON(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ text, want string }{ // want: JSON, or part of the error
		{`{}`, `{"delay":"0s","loss":0,"duplicate":0,"refuse":0}`},
		{`{"delay":"exponential:5ms","loss":0.25}`, `{"delay":"exponential:5ms","loss":0.25,"duplicate":0,"refuse":0}`},
		{`{"refuse":"0.5"}`, `{"delay":"0s","loss":0,"duplicate":0,"refuse":0.5}`},
		{`null`, `want an object`},
		{`[]`, `want an object`},
		{`{"loss":true}`, `loss`},
		{`{"loss":null}`, `loss`},
		{`{"loss":1.5}`, `"1.5"`},
		{`{"delay":20}`, `"20"`},
		{`{"delay":{"uniform":["5ms","50ms"]}}`, `delay`},
		{`{"reorder":0.5}`, `not available yet`},
		{`{"drop":0.5}`, `unknown fault "drop"`},
	} {
		before := target.Faults{Loss: 0.75}
		faults := before
		err := json.Unmarshal([]byte(row.text), &faults)
		if err != nil {
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: %q is not in %q", row.text, row.want, err)
			}
			if faults != before {
				t.Errorf("%s: an error changed the faults to %+v", row.text, faults)
			}
			continue
		}
		if got, _ := json.Marshal(faults); string(got) != row.want {
			t.Errorf("%s: got %s, want %s", row.text, got, row.want)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, seed := range []string{
		"loss=0.01", "delay=uniform:5ms,50ms\nloss=1", "delay=lognormal:20ms,0.5", "delay=exponential:1h",
		"delay=20ms\nrefuse=0x1p-3\nduplicate=1e-300", "stall=1", "=", "loss=-0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := target.ParseFaults(strings.Split(text, "\n"))
		if err != nil {
			return
		}
		if _, err := target.New(target.Config{Faults: faults}); err != nil {
			t.Fatalf("parsed from %q, refused: %v", text, err)
		}
		encoded, err := json.Marshal(faults)
		if err != nil {
			t.Fatalf("marshal what %q gave: %v", text, err)
		}
		var again target.Faults
		if err := json.Unmarshal(encoded, &again); err != nil || again != faults {
			t.Fatalf("%q gave %s, which gave %+v, %v", text, encoded, again, err)
		}
	})
}

func FuzzFaultsJSON(f *testing.F) {
	f.Add([]byte(`{"delay":"uniform:5ms,50ms","loss":0.5,"duplicate":1,"refuse":0}`))
	f.Add([]byte(`{"loss":"0.5"}`))
	f.Add([]byte(`{"stall":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var faults, again target.Faults
		if json.Unmarshal(data, &faults) != nil {
			return
		}
		encoded, err := json.Marshal(faults)
		if err != nil {
			t.Fatalf("marshal what %s gave: %v", data, err)
		}
		if err := json.Unmarshal(encoded, &again); err != nil || again != faults {
			t.Fatalf("%s gave %s, which gave %+v, %v", data, encoded, again, err)
		}
	})
}

// fates publishes n numbered events and returns what a subscriber got, as one
// text.
func fates(t *testing.T, config target.Config, n int) (service, []string) {
	t.Helper()
	s := newService(t, config)
	ada := s.login("ada", "student")
	for i := range n {
		s.publish(ada, "c", strconv.Itoa(i))
	}
	var got []string
	for after := int64(0); ; {
		answer := s.poll(ada, "c", fmt.Sprintf("?after=%d", after))
		if len(answer.Events) == 0 {
			return s, got
		}
		got = append(got, strings.Fields(answer.data())...)
		after = answer.Position
	}
}

func TestLossIsExactAndRepeatable(t *testing.T) {
	t.Parallel()
	const n = 2000
	config := target.Config{Seed: 42, Faults: target.Faults{Loss: 0.05}}
	s, first := fates(t, config, n)
	_, second := fates(t, config, n)
	if !slices.Equal(first, second) {
		t.Error("the same seed dropped other events")
	}
	c := s.Counters()
	if c.Accepted != n || c.Dropped != int64(n-len(first)) || c.Delivered != int64(len(first)) {
		t.Errorf("%d events arrived of %d, counters %+v", len(first), n, c)
	}
	if c.Dropped < 60 || c.Dropped > 140 { // expected 100, sigma about 10
		t.Errorf("%d dropped of %d at 5 %%", c.Dropped, n)
	}
	config.Seed = 43
	if _, other := fates(t, config, n); slices.Equal(first, other) {
		t.Error("another seed dropped the same events")
	}
}

func TestFatesOfEventsDoNotDependOnOtherFaults(t *testing.T) {
	t.Parallel()
	_, lossOnly := fates(t, target.Config{Seed: 3, Faults: target.Faults{Loss: 0.2}}, 500)
	_, both := fates(t, target.Config{Seed: 3, Faults: target.Faults{Loss: 0.2, Duplicate: 0.3}}, 500)
	if !slices.Equal(lossOnly, slices.Compact(both)) {
		t.Error("with duplicates, other events were dropped")
	}
}

func TestDuplicatesHaveTheirOwnPositions(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{Faults: target.Faults{Duplicate: 1}})
	ada := s.login("ada", "probe")
	if got := s.publish(ada, "c", `"a"`); got != 1 {
		t.Errorf("first acknowledged at %d, want 1", got)
	}
	if got := s.publish(ada, "c", `"b"`); got != 3 {
		t.Errorf("second acknowledged at %d, want 3", got)
	}
	got := s.poll(ada, "c", "?after=0")
	if got.data() != `"a" "a" "b" "b"` || got.Position != 4 || got.Events[1].Position != 2 {
		t.Errorf("got %+v", got)
	}
	if got := s.poll(ada, "c", "?after=1").data(); got != `"a" "b" "b"` {
		t.Errorf("after the first copy: %s", got)
	}
	if c := s.Counters(); c.Accepted != 2 || c.Duplicated != 2 || c.Delivered != 7 {
		t.Errorf("counters %+v", c)
	}
}

func TestRefuseDoesNothingElse(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{Seed: 1})
	ada := s.login("ada", "probe")
	s.want(200, "PUT", "/admin/faults", `{"refuse":1}`)
	const events = "/channels/c/events"
	s.want(503, "POST", events, `{}`, "Authorization", ada)
	s.want(503, "POST", "/login", `{"username":"ada","password":"pw"}`)
	s.want(503, "POST", "/login", `{"username":"eve","password":"pw"}`)
	s.want(401, "POST", events, `{}`)
	s.want(201, "POST", "/accounts", `{"username":"bob","password":"x"}`)
	if got := s.poll(ada, "c", ""); got.Position != 0 {
		t.Errorf("position %d after a refused publish", got.Position)
	}
	c := s.Counters()
	if c.Refused != 3 || c.Accepted != 0 {
		t.Errorf("refused %d, accepted %d", c.Refused, c.Accepted)
	}
	if got, want := c.ByRole["probe"], (target.RoleCounters{Published: 1, Refused: 2}); got != want {
		t.Errorf("by role: got %+v, want %+v", got, want)
	}
	s.want(204, "DELETE", "/admin/faults", "")
	s.publish(ada, "c", `{}`)
}

func TestRefusalsAreRepeatable(t *testing.T) {
	t.Parallel()
	statuses := func(seed uint64) (all []int) {
		s := newService(t, target.Config{Seed: seed})
		ada := s.login("ada", "probe")
		s.want(200, "PUT", "/admin/faults", `{"refuse":0.5}`)
		for range 100 {
			all = append(all, s.do("POST", "/channels/c/events", `{}`, "Authorization", ada).Code,
				s.do("POST", "/login", `{"username":"ada","password":"pw"}`).Code)
		}
		return all
	}
	first := statuses(9)
	if !slices.Equal(first, statuses(9)) || slices.Equal(first, statuses(10)) {
		t.Error("refusals are not a function of the seed")
	}
	if !slices.Contains(first, 503) || !slices.Contains(first, 201) || !slices.Contains(first, 200) {
		t.Errorf("got %v", first)
	}
}
