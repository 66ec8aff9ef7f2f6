package opstats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

func histogramOf(ds ...time.Duration) *hist.Histogram {
	h := new(hist.Histogram)
	for _, d := range ds {
		h.Record(d)
	}
	return h
}

// text is deltas as JSON, which shows everything in them.
func text(t testing.TB, deltas ...opstats.Delta) string {
	t.Helper()
	b, err := json.MarshalIndent(deltas, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	refused := errors.New("connection refused")
	lost := fmt.Errorf("publish: %w", errors.Join(errors.New("lease lost"), context.Canceled))

	r := opstats.NewRecorder()
	if got := r.Take(); len(got) != 0 {
		t.Errorf("nothing recorded: got %s", text(t, got...))
	}
	r.Record("PUBLISH", "b", 2*time.Second, 20, nil)
	r.Record("PUBLISH", "b", 3*time.Second, 7, refused)
	r.Record("PUBLISH", "b", 4*time.Second, 0, context.DeadlineExceeded)
	r.Record("PUBLISH", "b", 5*time.Second, 0, refused)
	r.Record("PUBLISH", "b", 9*time.Second, 99, context.Canceled)
	r.Record("PUBLISH", "a", time.Millisecond, 1, nil)
	r.Record("LOGIN", "z", time.Second, 5, lost)
	want := []opstats.Delta{
		{Type: "LOGIN", Name: "z", Cancelled: 1},
		{Type: "PUBLISH", Name: "a", Count: 1, Bytes: 1, Took: histogramOf(time.Millisecond)},
		{
			Type: "PUBLISH", Name: "b", Count: 4, Failures: 3, Cancelled: 1, Bytes: 27,
			Took:   histogramOf(2*time.Second, 3*time.Second, 4*time.Second, 5*time.Second),
			Errors: map[string]int64{"connection refused": 2, "context deadline exceeded": 1},
		},
	}
	if got := r.Take(); text(t, got...) != text(t, want...) {
		t.Errorf("got %s\nwant %s", text(t, got...), text(t, want...))
	}
	if got := r.Take(); len(got) != 0 {
		t.Errorf("taken already: got %s", text(t, got...))
	}
	r.Record("PUBLISH", "a", time.Minute, 3, nil)
	again := opstats.Delta{Type: "PUBLISH", Name: "a", Count: 1, Bytes: 3, Took: histogramOf(time.Minute)}
	if got := r.Take(); text(t, got...) != text(t, again) {
		t.Errorf("second take: got %s\nwant %s", text(t, got...), text(t, again))
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	r := opstats.NewRecorder()
	long := strings.Repeat("ä", 200)
	for _, err := range []string{long + "b", long + "c", long, "broken \xff byte"} {
		r.Record("A", "a", 0, 0, errors.New(err))
	}
	got := r.Take()[0].Errors
	want := map[string]int64{long: 3, "broken \ufffd byte": 1}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for text := range got {
		if !utf8.ValidString(text) {
			t.Errorf("%q is not UTF-8", text)
		}
	}
}

func TestErrorTextsAreBounded(t *testing.T) {
	t.Parallel()
	r := opstats.NewRecorder()
	record := func(from, to int) opstats.Delta {
		for i := from; i < to; i++ {
			r.Record("A", "a", 0, 0, fmt.Errorf("error %d", i))
			r.Record("A", "a", 0, 0, fmt.Errorf("error %d", from))
		}
		return r.Take()[0]
	}
	check := func(what string, d opstats.Delta, failures, others int64) {
		t.Helper()
		var sum int64
		for _, n := range d.Errors {
			sum += n
		}
		if d.Failures != failures || sum != failures || len(d.Errors) != 101 || d.Errors["(other errors)"] != others {
			t.Errorf("%s: got %d failures, %d by text, %d texts, %d others, want %d, %d, 101, %d", what,
				d.Failures, sum, len(d.Errors), d.Errors["(other errors)"], failures, failures, others)
		}
	}
	first := record(0, 150)
	check("first take", first, 300, 50)
	second := record(1000, 1120)
	check("second take", second, 240, 20)
	first.Merge(second)
	check("merged", first, 540, 50+240)
}

func TestOperationsAreBounded(t *testing.T) {
	t.Parallel()
	r := opstats.NewRecorder()
	record := func(kind string, n int) {
		for i := range n {
			r.Record(kind, fmt.Sprintf("item %05d", i), time.Second, 1, nil)
		}
	}
	record("PUBLISH", 300)
	record("LOGIN", 100)
	record("PUBLISH", 1000) // 300 known, 100 to fill up, 600 too many
	for i := range 70 {
		record(fmt.Sprintf("TYPE %d", i), 1)
	}
	got := make(map[string]int64)
	var sum int64
	deltas := r.Take()
	for _, d := range deltas {
		if d.Name == "(other)" {
			got[d.Type] = d.Count
		}
		sum += d.Count
	}
	want := map[string]int64{"PUBLISH": 600, "(other)": 70}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("counted under (other): got %v, want %v", got, want)
	}
	if len(deltas) != 502 || sum != 1470 {
		t.Errorf("got %d rows with %d operations, want 502 with 1470", len(deltas), sum)
	}
	if !slices.IsSortedFunc(deltas, func(a, b opstats.Delta) int {
		return strings.Compare(a.Type+"\x00"+a.Name, b.Type+"\x00"+b.Name)
	}) {
		t.Error("rows are not in order")
	}
}

// TestConcurrent records everything from many goroutines, each meeting the
// operations for itself, while others take: the Deltas must agree with
// themselves and add up.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	const users, rounds = 40, 500
	r := opstats.NewRecorder()
	failure := errors.New("refused")
	var recording, taking sync.WaitGroup
	for range users {
		recording.Go(func() {
			for i := range rounds {
				name := fmt.Sprintf("op %d", i%10)
				r.Record("A", name, time.Duration(i)*time.Millisecond, 10, nil)
				r.Record("A", name, time.Duration(i)*time.Millisecond, 1, failure)
				r.Record("A", name, time.Hour, 1000, context.Canceled)
			}
		})
	}
	var (
		done   atomic.Bool
		mu     sync.Mutex
		totals = make(map[string]*opstats.Delta)
	)
	for range 2 {
		taking.Go(func() {
			for last := false; !last; {
				last = done.Load()
				for _, d := range r.Take() {
					successes := d.Count - d.Failures
					if d.Failures != d.Errors["refused"] || d.Bytes != 10*successes+d.Failures ||
						d.Count > 0 && d.Took.Count() != d.Count {
						t.Errorf("a delta contradicts itself: %s", text(t, d))
					}
					mu.Lock()
					if totals[d.Name] == nil {
						totals[d.Name] = new(opstats.Delta)
					}
					totals[d.Name].Merge(d)
					mu.Unlock()
				}
			}
		})
	}
	recording.Wait()
	done.Store(true)
	taking.Wait()

	if len(totals) != 10 {
		t.Fatalf("got %d operations, want 10", len(totals))
	}
	for name, got := range totals {
		const each = users * rounds / 10
		var n int
		if _, err := fmt.Sscanf(name, "op %d", &n); err != nil {
			t.Fatal(err)
		}
		want := opstats.Delta{
			Count: 2 * each, Failures: each, Cancelled: each, Bytes: 11 * each,
			Took: new(hist.Histogram), Errors: map[string]int64{"refused": each},
		}
		for i := n; i < rounds; i += 10 {
			want.Took.RecordN(time.Duration(i)*time.Millisecond, 2*users)
		}
		if text(t, *got) != text(t, want) {
			t.Errorf("%s: got %s\nwant %s", name, text(t, *got), text(t, want))
		}
	}
}

func TestDeltaJSON(t *testing.T) {
	t.Parallel()
	r := opstats.NewRecorder()
	r.Record("A", "cancelled", time.Second, 1, context.Canceled)
	r.Record("A", "failed", time.Second, 1, errors.New(`a "quoted" text`))
	r.Record("A", "succeeded", time.Second, 1, nil)
	sent := r.Take()
	b, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"type":"A","name":"cancelled","cancelled":1},`; !strings.HasPrefix(string(b), want) {
		t.Errorf("got %s, want it to begin with %s", b, want)
	}
	var got []opstats.Delta
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if text(t, got...) != text(t, sent...) {
		t.Errorf("got %s\nwant %s", text(t, got...), text(t, sent...))
	}
	if got[0].Took != nil || got[2].Took.Max() != time.Second {
		t.Errorf("durations: got %v and %v, want none and one of 1s", got[0].Took, got[2].Took)
	}
}
