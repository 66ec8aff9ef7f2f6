package exchange_test

import (
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/exchange"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	const answer = `{"data":{"user":{"id":9007199254740993,"name":"ann","tags":["a","b"],"none":null,"ok":true,"empty":""}},
		"errors":[{"message":"no \"luck\"\n"}],"total":12,"text":"34","minus":-1,"part":1.5,"@id":"x","$ref":"r","a:b":"c"}`
	for _, tt := range []struct {
		place, want string
		found       bool
	}{
		{"data.user.id", "9007199254740993", true},
		{"data.user.name", "ann", true},
		{"data.user.tags.1", "b", true},
		{"errors.0.message", "no \"luck\"\n", true},
		{"$ref", "r", true},
		{"a:b", "c", true},
		{"data.user.tags.2", "", false},
		{"data.user", "", false},
		{"data.user.tags", "", false},
		{"data.user.none", "", false},
		{"data.user.ok", "", false},
		{"data.user.empty", "", false},
		{"nothing.here", "", false},
		{"", "", false},
	} {
		place, err := exchange.ParsePlace(tt.place)
		if err != nil {
			t.Errorf("%s: %v", tt.place, err)
			continue
		}
		if got, found := place.Text([]byte(answer)); got != tt.want || found != tt.found {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.place, got, found, tt.want, tt.found)
		}
		if place.IsZero() != (tt.place == "") || place.String() != tt.place {
			t.Errorf("%q: prints %q, zero %v", tt.place, place, place.IsZero())
		}
	}
	for text, want := range map[string]int{"total": 12, "text": 34, "minus": -1, "part": -1, "data": -1} {
		place, err := exchange.ParsePlace(text)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := place.Count([]byte(answer)); ok != (want >= 0) || ok && n != want {
			t.Errorf("count at %s: %d, %v, want %d", text, n, ok, want)
		}
	}
}

func TestParsePlaceMistakes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{".", "a.", ".a", "a..b", "a b", "@this", "a|b", "a.#", "a.#.b", "*", "a?", "{a,b}", "[0]", "!true", `a\.b`, "a.@reverse"} {
		if place, err := exchange.ParsePlace(text); err == nil || !strings.Contains(err.Error(), "is not a path into an answer such as") {
			t.Errorf("%s: %v, %v", text, place, err)
		}
	}
}

// FuzzPlace: any place in any answer is found or not, and nothing is found in
// what is not JSON.
func FuzzPlace(f *testing.F) {
	f.Add("data.user.id", `{"data":{"user":{"id":1}}}`)
	f.Add("0", `["a"]`)
	f.Add("a.0.b", `{"a":[{"b":"\ud83d\ude00"}]}`)
	f.Add("a", `{"a":`)
	f.Add("a", `{"a":"x","a":"y"}`)
	f.Add("$.a:1-_", strings.Repeat(`{"a":`, 1000))
	f.Fuzz(func(t *testing.T, text, answer string) {
		place, err := exchange.ParsePlace(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 500 {
				t.Fatalf("%q: %q", text, err)
			}
			return
		}
		if place.String() != text {
			t.Fatalf("%q prints as %q", text, place)
		}
		got, found := place.Text([]byte(answer))
		if found == (got == "") {
			t.Fatalf("%q in %q: %q, %v", text, answer, got, found)
		}
		if n, ok := place.Count([]byte(answer)); ok && (n < 0 || !found) {
			t.Fatalf("%q in %q counts %d", text, answer, n)
		}
		if _, broken := place.Text([]byte(answer + "}")); broken && found {
			t.Fatalf("%q is found in broken %q", text, answer+"}")
		}
	})
}
