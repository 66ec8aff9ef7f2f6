package coord

import (
	"slices"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

func FuzzDecodeSlots(f *testing.F) {
	set := new(SlotSet)
	for slot := 0; slot < Slots; slot += 3 {
		set.Add(slot)
	}
	f.Add(set.encode())
	f.Add("")
	f.Add("7:short")
	f.Fuzz(func(t *testing.T, text string) {
		decoded, err := decodeSlots(text)
		if err != nil {
			return
		}
		again, err := decodeSlots(decoded.encode())
		if err != nil || *again.bitmapForTest() != *decoded.bitmapForTest() || again.Len() != decoded.Len() {
			t.Fatalf("%q does not survive encoding: %v", text, err)
		}
	})
}

func (s *SlotSet) bitmapForTest() *[Slots / 8]byte { return &s.bitmap }

func FuzzDecodeEntry(f *testing.F) {
	took := new(hist.Histogram)
	took.RecordN(time.Millisecond, 3)
	report := Report{
		Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: 3, Took: took, Errors: map[string]int64{"e": 1}}},
		Routes:     []Route{{Route: "quiet", Sent: 1, Latency: took}},
		Waits:      map[string]*hist.Histogram{"student": took}, CPU: 0.5,
	}
	body, err := report.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("1-0", "7", string(body))
	f.Add("1-0", "x", "\xa1")
	f.Fuzz(func(t *testing.T, id, number, body string) {
		entry, err := decodeEntry(id, map[string]any{"run": "r", "member": "m", "number": number, "oldest": number, "body": body})
		if err == nil && (entry.ID != id || entry.Run != "r" || entry.Member != "m") {
			t.Fatalf("entry %+v", entry)
		}
		if err != nil {
			return
		}
		// What was accepted can be added, kept and sent again.
		var joined Report
		joined.absorb(entry.Report)
		body1, err := joined.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeReport(body1)
		if err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if body2, err := again.encode(); err != nil || len(body2) != len(body1) {
			t.Fatalf("encoding and decoding changed the report from %x to %x: %v", body1, body2, err)
		}
	})
}

// With Redis away for long, reports are joined and no count is lost; what may
// have reached the stream is never changed.
func TestOutboxJoins(t *testing.T) {
	t.Parallel()
	var o outbox
	o.reset("run")
	publish := func() Report {
		return Report{Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: 1}}}
	}
	add := func() {
		if err := o.add("run", publish()); err != nil {
			t.Fatal(err)
		}
	}
	add()
	_, attempted := o.next(1)
	for range 10 * maxKept {
		add()
	}
	if n, _ := o.waiting(); n > maxKept {
		t.Fatalf("%d reports are kept, want at most %d", n, maxKept)
	}
	_, again := o.next(1)
	if again[0].number != attempted[0].number || string(again[0].body) != string(attempted[0].body) {
		t.Errorf("the report that may be in the stream changed from %s to %s", attempted[0].body, again[0].body)
	}
	// However long nobody saves, only so much is sent.
	sent := int64(0)
	for range 10 * maxKept {
		run, reports := o.next(20)
		for _, k := range reports {
			o.acknowledged(run, k.number)
			sent = k.number
		}
		add()
	}
	if n, _ := o.waiting(); n > maxKept || sent > maxKept/2 {
		t.Fatalf("%d reports are kept and %d in the stream, want at most %d and %d", n, sent, maxKept, maxKept/2)
	}
	total, number := int64(0), int64(0)
	o.resend()
	for n, _ := o.waiting(); n > 0; n, _ = o.waiting() {
		_, reports := o.next(20)
		for _, k := range reports {
			if number++; k.number != number {
				t.Fatalf("report number %d, want %d", k.number, number)
			}
			entry, err := decodeEntry("1-0", map[string]any{"number": "1", "oldest": "1", "body": string(k.body)})
			if err != nil {
				t.Fatal(err)
			}
			total += entry.Report.Operations[0].Count
		}
		o.saved("run", number, time.Time{})
	}
	if want := int64(20*maxKept + 1); total != want {
		t.Errorf("the reports count %d operations, want %d", total, want)
	}
	if err := o.add("another run", publish()); err != nil {
		t.Fatal(err)
	}
	if n, _ := o.waiting(); n != 0 {
		t.Error("a report of another run was kept")
	}
}

// A Redis that comes back without its last writes, and a master with what it has, are
// given what was saved in them once more, and nothing else.
func TestOutboxKeepsWhatIsSaved(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var o outbox
	o.reset("run")
	send := func() (numbers []int64) {
		run, reports := o.next(sendAtOnce)
		for _, k := range reports {
			o.acknowledged(run, k.number)
			numbers = append(numbers, k.number)
		}
		return numbers
	}
	for second := range 8 {
		if err := o.add("run", Report{}); err != nil {
			t.Fatal(err)
		}
		send()
		o.saved("run", int64(second+1), began.Add(time.Duration(second)*time.Second))
	}
	if n, _ := o.waiting(); n != 0 {
		t.Errorf("%d reports wait to be saved, and all are", n)
	}
	if n := len(o.kept); n != int(keepSaved/time.Second) {
		t.Errorf("%d reports are kept, want those of %s", n, keepSaved)
	}
	if again := send(); again != nil {
		t.Errorf("reports %v are sent again, and all are saved", again)
	}
	o.saved("run", 6, began.Add(10*time.Minute)) // it was away for long, too
	if n, _ := o.waiting(); n != 2 {
		t.Errorf("%d reports wait to be saved, want 2", n)
	}
	if again := send(); !slices.Equal(again, []int64{7, 8}) {
		t.Errorf("reports %v are sent again, want 7 and 8", again)
	}
	o.saved("run", 8, began.Add(10*time.Minute+time.Second))
	o.saved("run", 8, began.Add(10*time.Minute+time.Second+keepSaved))
	if n := len(o.kept); n != 0 {
		t.Errorf("%d reports are kept for good", n)
	}
}
