package pubsubtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/throng-load/throng/scenarios/pubsub"
)

// message appends the payload of a publisher's message. Its text follows from
// the rest, so that whoever receives it can tell whether it is whole.
func message(t *testing.T, dst []byte, publisher, channel string, sequence int64) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]string{"text": textOf(publisher, channel, sequence)})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := pubsub.AppendPayload(dst, pubsub.Envelope{
		Run: "suite", Source: pubsub.SourceLoad, Publisher: publisher, Sequence: sequence, Channel: channel,
	}, body)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func textOf(publisher, channel string, sequence int64) string {
	return fmt.Sprintf("%s says \"%d\" on <%s>\n\tçà et là \\ 日本 🎓", publisher, sequence, channel)
}

// inbox collects what a subscription delivers, and complains about what no
// subscription may do.
type inbox struct {
	t       *testing.T
	changed chan struct{} // holds one value when something was added

	mu      sync.Mutex
	running bool // a handler is being called
	got     []pubsub.Envelope
	latest  time.Time
}

func newInbox(t *testing.T) *inbox {
	return &inbox{t: t, changed: make(chan struct{}, 1)}
}

// handler returns the handler that fills the inbox.
func (in *inbox) handler() pubsub.Handler {
	return pubsub.Handler{
		Message: func(payload []byte, received time.Time) {
			in.enter()
			defer in.leave()
			in.take(payload, received)
		},
		Attempt: func(a pubsub.Attempt) {
			in.enter()
			defer in.leave()
			if a.Took < 0 || a.Bytes < 0 {
				in.t.Errorf("attempt took %v and had %d bytes", a.Took, a.Bytes)
			}
		},
	}
}

// enter and leave check that the functions of a handler are called one at a time.
func (in *inbox) enter() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.running {
		in.t.Error("two functions of one handler run at the same time")
	}
	in.running = true
}

func (in *inbox) leave() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.running = false
}

func (in *inbox) take(payload []byte, received time.Time) {
	e, err := pubsub.ParsePayload(payload)
	if err != nil {
		in.t.Errorf("payload %q: %v", payload, err)
		return
	}
	var body struct{ Text string }
	if err := json.Unmarshal(payload, &body); err != nil || body.Text != textOf(e.Publisher, e.Channel, e.Sequence) {
		in.t.Errorf("message %d of %s arrived with text %q, %v", e.Sequence, e.Publisher, body.Text, err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if received.Before(in.latest) || received.After(time.Now()) {
		in.t.Errorf("message %d of %s was received at %v, after one of %v", e.Sequence, e.Publisher, received, in.latest)
	}
	in.latest = received
	in.got = append(in.got, e)
	select {
	case in.changed <- struct{}{}:
	default:
	}
}

// all returns what has arrived so far.
func (in *inbox) all() []pubsub.Envelope {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.got)
}

// await waits until n messages have arrived and returns all there are.
func (in *inbox) await(n int) []pubsub.Envelope {
	in.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		if got := in.all(); len(got) >= n {
			return got
		}
		select {
		case <-in.changed:
		case <-timeout.C:
			got := in.all()
			in.t.Fatalf("%d of %d messages arrived in %v: %v", len(got), n, patience, sequences(got))
		}
	}
}

// expect waits for messages and checks that they are the publisher's from
// first to last, on the channel, in order.
func (in *inbox) expect(p *publisher, first, last int64) {
	in.t.Helper()
	in.check(in.await(int(last-first+1)), p, first, last)
}

// check compares what arrived with a publisher's messages from first to last.
func (in *inbox) check(got []pubsub.Envelope, p *publisher, first, last int64) {
	in.t.Helper()
	want := make([]int64, 0, last-first+1)
	for n := first; n <= last; n++ {
		want = append(want, n)
	}
	if !slices.Equal(sequences(got), want) {
		in.t.Errorf("arrived: %v, want %d..%d in order", sequences(got), first, last)
	}
	for _, e := range got {
		if e.Publisher != p.name || e.Channel != p.channel {
			in.t.Errorf("message of %s on %s arrived, want only those of %s on %s", e.Publisher, e.Channel, p.name, p.channel)
		}
	}
}

func sequences(got []pubsub.Envelope) []int64 {
	out := make([]int64, 0, len(got))
	for _, e := range got {
		out = append(out, e.Sequence)
	}
	return out
}
