package pubsub_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/scenarios/pubsub"
)

func someEnvelope() pubsub.Envelope {
	return pubsub.Envelope{Run: "run-1", Source: pubsub.SourceLoad, Publisher: "17.3", Sequence: 42, Channel: "class/7/progress", At: 1_700_000_000_000_000}
}

// anyEnvelope draws complete envelopes with every kind of valid text.
func anyEnvelope(t *rapid.T) pubsub.Envelope {
	text := rapid.StringN(1, 20, -1)
	return pubsub.Envelope{
		Run:       text.Draw(t, "run"),
		Source:    rapid.SampledFrom([]string{pubsub.SourceLoad, pubsub.SourceProbe}).Draw(t, "source"),
		Publisher: text.Draw(t, "publisher"),
		Sequence:  rapid.Int64Range(1, 1<<62).Draw(t, "sequence"),
		Channel:   text.Draw(t, "channel"),
		At:        rapid.Int64().Draw(t, "at"),
	}
}

// anyBody draws JSON objects, with fields that look like envelopes among them.
func anyBody(t *rapid.T) map[string]any {
	name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"throng", "Throng", "x", `"`, `\`}))
	leaf := rapid.OneOf(
		rapid.String().AsAny(),
		rapid.Float64Range(-1e9, 1e9).AsAny(),
		rapid.Bool().AsAny(),
		rapid.Just(any(nil)),
		rapid.Just(any(`{"throng":{"run":"fake"}}`)),
		rapid.Just(any(someEnvelope())),
	)
	value := rapid.OneOf(
		leaf,
		rapid.SliceOfN(leaf, 0, 3).AsAny(),
		rapid.MapOfN(name, leaf, 0, 3).AsAny(),
	)
	return rapid.MapOfN(name, value, 0, 5).Draw(t, "body")
}

func TestPayloadRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyEnvelope(t)
		fields := anyBody(t)
		body, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		prefix := rapid.SampledFrom([]string{"", "kept "}).Draw(t, "prefix")

		whole, err := pubsub.AppendPayload([]byte(prefix), want, body)
		if err != nil {
			t.Fatalf("AppendPayload(%+v, %s) = %v", want, body, err)
		}
		payload, kept := bytes.CutPrefix(whole, []byte(prefix))
		if !kept {
			t.Fatalf("AppendPayload overwrote what was there: %q", whole)
		}
		got, err := pubsub.ParsePayload(payload)
		if err != nil || got != want {
			t.Fatalf("ParsePayload(%s) = %+v, %v; want %+v", payload, got, err, want)
		}

		// The body is all there. Of a field that has the envelope's name the
		// envelope comes first and the library keeps the last.
		var all, plain map[string]json.RawMessage
		if err := json.Unmarshal(payload, &all); err != nil {
			t.Fatalf("payload is not JSON: %v\n%s", err, payload)
		}
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatal(err)
		}
		if _, own := plain[pubsub.EnvelopeField]; !own {
			delete(all, pubsub.EnvelopeField)
		}
		same := func(a, b json.RawMessage) bool { return string(a) == string(b) }
		if !maps.EqualFunc(all, plain, same) {
			t.Fatalf("fields of the payload beside the envelope = %s, want %s", all, plain)
		}
	})
}

// A broker may spell the JSON otherwise, or put the fields in another order.
func TestPayloadSurvivesReencoding(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyEnvelope(t)
		fields := anyBody(t)
		fields[pubsub.EnvelopeField] = want
		indent := rapid.SampledFrom([]string{"", " ", "\t", "\r\n  "}).Draw(t, "indent")
		payload, err := json.MarshalIndent(fields, "", indent)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pubsub.ParsePayload(payload)
		if err != nil || got != want {
			t.Fatalf("ParsePayload(%s) = %+v, %v; want %+v", payload, got, err, want)
		}
	})
}

func TestParsePayloadIsNotFooled(t *testing.T) {
	t.Parallel()
	const fake = `{"run":"r","src":"load","pub":"p","seq":1,"ch":"c","at":1}`
	whole, err := pubsub.AppendPayload(nil, someEnvelope(), []byte(`{"answer":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"nothing":                  ``,
		"only space":               " \n",
		"not JSON":                 `hello`,
		"a text":                   `"throng"`,
		"a list":                   `[{"throng":` + fake + `}]`,
		"null":                     `null`,
		"no fields":                `{}`,
		"somebody else's":          `{"kind":"greeting"}`,
		"deeper":                   `{"data":{"throng":` + fake + `}}`,
		"in a list":                `{"data":[{"throng":` + fake + `}]}`,
		"inside a text":            `{"data":"{\"throng\":{\"run\":\"r\"}}"}`,
		"a value of that name":     `{"data":"throng","x":` + fake + `}`,
		"another case":             `{"Throng":` + fake + `}`,
		"a longer name":            `{"throng2":` + fake + `}`,
		"null envelope":            `{"throng":null}`,
		"text envelope":            `{"throng":"run"}`,
		"empty envelope":           `{"throng":{}}`,
		"list envelope":            `{"throng":[` + fake + `]}`,
		"no run":                   `{"throng":{"src":"load","pub":"p","seq":1,"ch":"c","at":1}}`,
		"an unknown source":        `{"throng":{"run":"r","src":"other","pub":"p","seq":1,"ch":"c","at":1}}`,
		"a sequence of 0":          `{"throng":{"run":"r","src":"load","pub":"p","seq":0,"ch":"c","at":1}}`,
		"a sequence with fraction": `{"throng":{"run":"r","src":"load","pub":"p","seq":1.5,"ch":"c","at":1}}`,
		"first of two is no good":  `{"throng":null,"throng":` + fake + `}`,
		"something behind":         string(whole) + `{}`,
		"cut short":                string(whole[:len(whole)-1]),
		"cut in the envelope":      string(whole[:30]),
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if e, err := pubsub.ParsePayload([]byte(payload)); !errors.Is(err, pubsub.ErrNoEnvelope) {
				t.Errorf("ParsePayload(%s) = %+v, %v; want ErrNoEnvelope", payload, e, err)
			}
		})
	}
}

func TestFirstEnvelopeCounts(t *testing.T) {
	t.Parallel()
	want := someEnvelope()
	payload, err := pubsub.AppendPayload(nil, want, []byte(`{"throng":{"run":"other","src":"probe","pub":"q","seq":9,"ch":"d","at":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pubsub.ParsePayload(payload); err != nil || got != want {
		t.Errorf("ParsePayload(%s) = %+v, %v; want %+v", payload, got, err, want)
	}
}

func TestAppendPayloadTakesBodies(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "{ }", "{\n}", `{"a":1}`, "{\n\t\"a\": 1\n}"} {
		payload, err := pubsub.AppendPayload(nil, someEnvelope(), []byte(body))
		if err != nil || !json.Valid(payload) {
			t.Errorf("AppendPayload(%q) = %s, %v; want JSON", body, payload, err)
		}
	}
	for _, body := range []string{"{", "}", "[]", `"text"`, "1", "null"} {
		dst := []byte("kept")
		payload, err := pubsub.AppendPayload(dst, someEnvelope(), []byte(body))
		if err == nil || string(payload) != "kept" {
			t.Errorf("AppendPayload(%q) = %s, %v; want an error and nothing appended", body, payload, err)
		}
	}
}

func TestAppendPayloadWantsACompleteEnvelope(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*pubsub.Envelope){
		"run":       func(e *pubsub.Envelope) { e.Run = "" },
		"source":    func(e *pubsub.Envelope) { e.Source = "other" },
		"publisher": func(e *pubsub.Envelope) { e.Publisher = "" },
		"sequence":  func(e *pubsub.Envelope) { e.Sequence = 0 },
		"channel":   func(e *pubsub.Envelope) { e.Channel = "" },
	} {
		e := someEnvelope()
		spoil(&e)
		if payload, err := pubsub.AppendPayload(nil, e, nil); err == nil || len(payload) != 0 {
			t.Errorf("AppendPayload without a proper %s = %s, %v; want an error", name, payload, err)
		}
	}
}

func TestEnvelopeTime(t *testing.T) {
	t.Parallel()
	if got, want := someEnvelope().Time(), time.Unix(1_700_000_000, 0); !got.Equal(want) {
		t.Errorf("Time() = %v, want %v", got, want)
	}
}

// FuzzParsePayload compares with the library's slow way of finding the first
// field: whatever ParsePayload finds, the library finds too, and what it finds
// can be written and read again.
func FuzzParsePayload(f *testing.F) {
	whole, err := pubsub.AppendPayload(nil, someEnvelope(), []byte(`{"a":[1,{"b":"]}"}],"c":"\\\""}`))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(whole), string(whole[:40]), ``, `{}`, `{"x" : 1 , "throng" : null }`, `{"a":"\\","throng":{}}`,
		`[{"throng":{}}]`, `{"":{"throng":[[]]},"throng":{"run":"r","src":"load","pub":"p","seq":1,"ch":"c"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := pubsub.ParsePayload(payload)
		want, found := firstByLibrary(payload)
		if err != nil {
			if found && want.Run != "" && want.Publisher != "" && want.Channel != "" && want.Sequence > 0 &&
				(want.Source == pubsub.SourceLoad || want.Source == pubsub.SourceProbe) {
				t.Fatalf("ParsePayload(%q) = %v, the library finds %+v", payload, err, want)
			}
			return
		}
		if !found || got != want {
			t.Fatalf("ParsePayload(%q) = %+v, the library finds %+v, %t", payload, got, want, found)
		}
		again, err := pubsub.AppendPayload(nil, got, nil)
		if err != nil {
			t.Fatalf("AppendPayload(%+v) = %v", got, err)
		}
		if back, err := pubsub.ParsePayload(again); err != nil || back != got {
			t.Fatalf("ParsePayload(%s) = %+v, %v; want %+v", again, back, err, got)
		}
	})
}

// firstByLibrary walks the payload with json.Decoder.
func firstByLibrary(payload []byte) (e pubsub.Envelope, found bool) {
	if !json.Valid(payload) {
		return e, false
	}
	dec := json.NewDecoder(strings.NewReader(string(payload)))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return e, false
	}
	for dec.More() {
		before := dec.InputOffset()
		key, err := dec.Token()
		if err != nil {
			return e, false
		}
		spelled := string(payload[before:dec.InputOffset()])
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return e, false
		}
		if key == pubsub.EnvelopeField && !strings.Contains(spelled, `\`) {
			return e, json.Unmarshal(value, &e) == nil
		}
	}
	return e, false
}

func BenchmarkParsePayload(b *testing.B) {
	for _, size := range []int{0, 256, 4096} {
		body := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", size))
		payload, err := pubsub.AppendPayload(nil, someEnvelope(), body)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if _, err := pubsub.ParsePayload(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendPayload(b *testing.B) {
	e, body, dst := someEnvelope(), []byte(`{"answer":"b","question":7}`), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = pubsub.AppendPayload(dst[:0], e, body); err != nil {
			b.Fatal(err)
		}
	}
}
