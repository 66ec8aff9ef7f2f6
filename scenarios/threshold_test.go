package scenarios_test

import (
	"math"
	"strings"
	"testing"

	"github.com/throng-load/throng/scenarios"
)

func TestParseThreshold(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]scenarios.Threshold{
		"delivery.p95 <= 2s":          {Expr: "delivery.p95 <= 2s", Metric: scenarios.DeliveryP95, Op: "<=", Value: 2},
		"delivery.p95<1s500ms":        {Expr: "delivery.p95 < 1s500ms", Metric: scenarios.DeliveryP95, Op: "<", Value: 1.5},
		"delivery.lost == 0":          {Expr: "delivery.lost == 0", Metric: scenarios.DeliveryLost, Op: "==", Value: 0},
		"  delivery.duplicated  != 7": {Expr: "delivery.duplicated != 7", Metric: scenarios.DeliveryDuplicated, Op: "!=", Value: 7},
		"failures < 1%":               {Expr: "failures < 1%", Metric: scenarios.Failures, Op: "<", Value: 0.01},
		"failures >= 0.5":             {Expr: "failures >= 0.5", Metric: scenarios.Failures, Op: ">=", Value: 0.5},
		"delivery.lost > 3":           {Expr: "delivery.lost > 3", Metric: scenarios.DeliveryLost, Op: ">", Value: 3},
	} {
		if got, err := scenarios.ParseThreshold(expr); err != nil || got != want {
			t.Errorf("ParseThreshold(%q) = %+v, %v; want %+v", expr, got, err, want)
		}
	}
}

func TestParseThresholdMistakes(t *testing.T) {
	t.Parallel()
	const metrics = "delivery.p95, delivery.lost, delivery.duplicated, failures"
	for expr, want := range map[string]string{
		"":                        metrics,
		"delivery.p95":            metrics,
		"delivery.p99 <= 2s":      `unknown metric "delivery.p99": there are ` + metrics,
		"PUBLISH.p95 < 2s":        metrics,
		"<= 2s":                   `unknown metric ""`,
		"delivery.p95 = 2s":       `unknown operator "="`,
		"delivery.p95 =< 2s":      `unknown operator "=<"`,
		"delivery.p95 <> 2s":      `unknown operator "<>"`,
		"delivery.p95 <= 1.5s":    `delivery.p95: "1.5s" is not a duration`,
		"delivery.p95 <=":         `"" is not a duration`,
		"delivery.p95 < 2s < 3s":  `"2s < 3s" is not a duration`,
		"delivery.lost == 0%":     `"0%" is not a whole number`,
		"delivery.lost == -1":     `"-1" is not a whole number`,
		"delivery.lost == 1e3":    `"1e3" is not a whole number`,
		"failures < 120%":         "above 100%",
		"failures < many":         `"many" is not a ratio`,
		"delivery.lost == 0 && x": "is not a whole number",
	} {
		got, err := scenarios.ParseThreshold(expr)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseThreshold(%q) = %+v, %v; want an error with %q", expr, got, err, want)
		}
	}
	if _, err := (scenarios.Threshold{}).MarshalText(); err == nil {
		t.Error("the zero threshold marshals")
	}
}

func TestThresholdHolds(t *testing.T) {
	t.Parallel()
	// For each operator: below the value, at it, above it.
	for op, want := range map[string][3]bool{
		"<": {true, false, false}, "<=": {true, true, false}, "==": {false, true, false},
		">=": {false, true, true}, ">": {false, false, true}, "!=": {true, false, true},
	} {
		threshold, err := scenarios.ParseThreshold("delivery.lost " + op + " 5")
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{threshold.Holds(4), threshold.Holds(5), threshold.Holds(6)}; got != want {
			t.Errorf("%s holds for 4, 5, 6: %v, want %v", threshold, got, want)
		}
		if threshold.Holds(math.NaN()) {
			t.Errorf("%s holds for what is not a number", threshold)
		}
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, seed := range []string{"delivery.p95 <= 2s", "delivery.lost == 0", "delivery.duplicated!=1", "failures < 1%", "<", "failures<<1%", "a\n<b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var a, b scenarios.Threshold
		roundTrip(t, s, &a, &b)
		if a.Expr != "" && !(a.Value >= 0) {
			t.Fatalf("%q has the value %v", s, a.Value)
		}
	})
}
