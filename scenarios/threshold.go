package scenarios

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Metric is a figure of a run that a threshold can name.
type Metric string

// The metrics. Those of delivery are the worst of the probe's routes.
const (
	DeliveryP95        Metric = "delivery.p95"        // 95th percentile of the latency, in seconds
	DeliveryLost       Metric = "delivery.lost"       // messages lost, a count
	DeliveryDuplicated Metric = "delivery.duplicated" // messages received again, a count
	Failures           Metric = "failures"            // failed operations by all operations, a ratio
)

// Op compares a metric with a threshold's value.
type Op string

// The operators.
const (
	Less         Op = "<"
	LessEqual    Op = "<="
	Equal        Op = "=="
	GreaterEqual Op = ">="
	Greater      Op = ">"
	NotEqual     Op = "!="
)

// Threshold is a condition that a run must meet: "delivery.p95 <= 2s".
type Threshold struct {
	// Expr is the condition as text, with single spaces.
	Expr   string
	Metric Metric
	Op     Op
	// Value is in seconds, a count or a ratio, as the metric is.
	Value float64
}

// operatorHint and metricHint end the messages about a wrong expression.
const operatorHint = "the operators are <, <=, ==, >=, >, !="

func metricHint() string {
	return fmt.Sprintf("there are %s, %s, %s, %s", DeliveryP95, DeliveryLost, DeliveryDuplicated, Failures)
}

// ParseThreshold reads an expression: a metric, an operator and a value in the
// metric's unit (a duration, a whole number, or a ratio).
func ParseThreshold(s string) (Threshold, error) {
	const operators = "<=>!"
	start := strings.IndexAny(s, operators)
	if start < 0 {
		return Threshold{}, fmt.Errorf("%s is not a condition such as %q: metrics: %s; %s",
			quote(s), "delivery.p95 <= 2s", metricHint(), operatorHint)
	}
	rest := strings.TrimLeft(s[start:], operators)
	metric, op, value := strings.TrimSpace(s[:start]), s[start:len(s)-len(rest)], strings.TrimSpace(rest)

	t := Threshold{Expr: metric + " " + op + " " + value, Metric: Metric(metric), Op: Op(op)}
	var err error
	switch t.Metric {
	case DeliveryP95:
		var d time.Duration
		d, err = ParseDuration(value)
		t.Value = d.Seconds()
	case DeliveryLost, DeliveryDuplicated:
		t.Value, err = parseCount(value)
	case Failures:
		var r Ratio
		r, err = ParseRatio(value)
		t.Value = float64(r)
	default:
		return Threshold{}, fmt.Errorf("unknown metric %s: %s", quote(metric), metricHint())
	}
	switch t.Op {
	case Less, LessEqual, Equal, GreaterEqual, Greater, NotEqual:
	default:
		return Threshold{}, fmt.Errorf("unknown operator %s: %s", quote(op), operatorHint)
	}
	if err != nil {
		return Threshold{}, fmt.Errorf("%s: %w", t.Metric, err)
	}
	return t, nil
}

// parseCount reads a whole number that a float64 holds exactly.
func parseCount(s string) (float64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !isDigits(s) || n > maxCount {
		return 0, fmt.Errorf("%s is not a whole number from 0 to %d", quote(s), int64(maxCount))
	}
	return float64(n), nil
}

// Holds says whether the measured value v, in the metric's unit, meets the
// threshold. Not-a-number meets none.
func (t Threshold) Holds(v float64) bool {
	if math.IsNaN(v) {
		return false
	}
	switch t.Op {
	case Less:
		return v < t.Value
	case LessEqual:
		return v <= t.Value
	case Equal:
		return v == t.Value
	case GreaterEqual:
		return v >= t.Value
	case Greater:
		return v > t.Value
	case NotEqual:
		return v != t.Value
	}
	return false
}

// String is Expr.
func (t Threshold) String() string { return t.Expr }

// MarshalText returns Expr. A zero Threshold has none.
func (t Threshold) MarshalText() ([]byte, error) {
	if t.Expr == "" {
		return nil, errors.New("marshal threshold: it has no expression")
	}
	return []byte(t.Expr), nil
}

// UnmarshalText reads an expression.
func (t *Threshold) UnmarshalText(text []byte) error {
	v, err := ParseThreshold(string(text))
	if err != nil {
		return err
	}
	*t = v
	return nil
}
