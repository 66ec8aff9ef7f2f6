package accounts

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	want := Account{Username: "ü@example.org", Password: NewSecret(`"<\ `), Role: "student",
		Attributes: map[string]string{"group": "7", "": ""}}
	text, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode("12", text)
	if err != nil || got.ID != "12" || got.Username != want.Username || got.Role != want.Role ||
		got.Password != want.Password || !maps.Equal(got.Attributes, want.Attributes) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestUnreadableRecordsAreNotQuoted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null", "[]", `{"u":"x","r":"y","p":424242}`, `{"u":"x"}`, `{"r":"y","p":"424242"}`, `{"u":"x","r":"y","p":"424242`} {
		_, err := decode("1", text)
		if err == nil {
			t.Errorf("%q: no error", text)
		} else if strings.Contains(err.Error(), "4242") {
			t.Errorf("%q: the error quotes it: %v", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{``, `{}`, `{"u":"a","p":"b","r":"c","a":{"d":"e"}}`, `{"u":1}`, "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := decode("1", text)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatalf("got %v, want errRecord", err)
			}
			return
		}
		again, err := encode(a)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		b, err := decode("1", again)
		if err != nil || a.Username != b.Username || a.Password != b.Password || a.Role != b.Role ||
			!maps.Equal(a.Attributes, b.Attributes) {
			t.Fatalf("got %+v, %v; want %+v", b, err, a)
		}
	})
}

// FuzzReplies feeds the decoders answers of any shape: they must not panic,
// and what they accept must make sense.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("OK\x00t17\x00(t1\x00)(t{}\x00)n\x01n\x02n\x03n\x04n\x05"))
	f.Add([]byte("tDUP\x00"))
	f.Add([]byte("tOK\x00((("))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, _ := build(data, 0)
		if g, err := decodeGrant(answer, 3); err == nil && g.token == 0 && len(g.accounts) > 1000 {
			t.Errorf("granted %d accounts without a token", len(g.accounts))
		}
		if stats, err := decodeStats(answer, []string{"a", "b"}); err == nil && len(stats) != 2 {
			t.Errorf("stats of %d roles", len(stats))
		}
		if g, err := decodeGeneration(answer); err == nil && g.schema == "" && len(answer) > 0 && answer[0] != "" {
			t.Error("a generation without a schema")
		}
		_, _ = counted(answer, nil)
	})
}

// build makes an answer out of bytes: t text, n number, 0 nil, ( list ).
func build(data []byte, depth int) (answer []any, rest []byte) {
	for len(data) > 0 {
		kind := data[0]
		data = data[1:]
		switch {
		case kind == 't':
			text, after, _ := strings.Cut(string(data), "\x00")
			answer, data = append(answer, text), []byte(after)
		case kind == 'n' && len(data) > 0:
			answer, data = append(answer, int64(int8(data[0]))), data[1:]
		case kind == '(' && depth < 4:
			var list []any
			list, data = build(data, depth+1)
			answer = append(answer, list)
		case kind == ')':
			return answer, data
		default:
			answer = append(answer, nil)
		}
	}
	return answer, nil
}
