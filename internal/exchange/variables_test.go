package exchange_test

import (
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/exchange"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"HOST": "h.example", "P_2": "${HOST}", "EMPTY": ""}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }
	for _, tt := range []struct{ text, want, problem string }{
		{"", "", ""},
		{"plain $5 $HOST {HOST} $", "plain $5 $HOST {HOST} $", ""},
		{"http://${HOST}/${HOST}", "http://h.example/h.example", ""},
		{"${P_2}", "${HOST}", ""}, // once
		{"$${HOST}", "$h.example", ""},
		{"a ${NONE} b", "", "the environment variable NONE is not set"},
		{"${EMPTY}", "", "the environment variable EMPTY is not set"},
		{"${A}${B}${A}", "", "the environment variables A, B are not set"},
		{"${", "", "${ must begin the name"},
		{"${}", "", "${ must begin the name"},
		{"${2X}", "", "${ must begin the name"},
		{"${A B}", "", "${ must begin the name"},
		{"${A:-x}", "", "${ must begin the name"},
	} {
		got, err := exchange.Expand(tt.text, lookup)
		if got != tt.want || (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: got %q, %v, want %q %s", tt.text, got, err, tt.want, tt.problem)
		}
		if err := exchange.CheckVariables(tt.text); (err == nil) != !strings.Contains(tt.problem, "must begin") {
			t.Errorf("check %s: %v", tt.text, err)
		}
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]exchange.Failure{"unreachable": exchange.Unreachable, "400": 400, "503": 503, "599": 599} {
		var got exchange.Failure
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := got.MarshalText(); err != nil || string(again) != text {
			t.Errorf("%s: %s, %v", text, again, err)
		}
	}
	for _, text := range []string{"", "399", "600", "0", "-1", "always", "5xx"} {
		var got exchange.Failure
		if err := got.UnmarshalText([]byte(text)); err == nil || got != 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
}
