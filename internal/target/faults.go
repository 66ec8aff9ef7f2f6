package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Faults is what goes wrong on purpose; the package comment says how. The zero
// value is nothing. As JSON it is an object of the keys below with the delay
// as text; keys that are absent are off. Faults can be compared with ==.
type Faults struct {
	// Delay is drawn for each event between its acceptance and its delivery.
	Delay Delay `json:"delay"`
	// Loss is the probability, 0 to 1, that an event is never delivered.
	Loss float64 `json:"loss"`
	// Duplicate is the probability, 0 to 1, that an event is delivered twice.
	Duplicate float64 `json:"duplicate"`
	// Refuse is the probability, 0 to 1, that a publish or a log-in is
	// answered 503.
	Refuse float64 `json:"refuse"`
}

const knownFaults = "delay, loss, duplicate, refuse"

// ParseFaults reads faults in the form of the command line, one key=value
// each: loss=0.01, delay=uniform:5ms,50ms. No arguments are no faults. The
// error names the key and the value of the first one that is wrong.
func ParseFaults(args []string) (Faults, error) {
	var f Faults
	given := make(map[string]bool, len(args))
	for _, arg := range args {
		key, value, found := strings.Cut(arg, "=")
		if !found {
			return Faults{}, fmt.Errorf("fault %.40q: want key=value, such as loss=0.01", arg)
		}
		key = strings.TrimSpace(key)
		if given[key] {
			return Faults{}, fmt.Errorf("fault %.40q: %q is given twice", arg, key)
		}
		given[key] = true
		if err := f.set(key, strings.TrimSpace(value)); err != nil {
			return Faults{}, err
		}
	}
	return f, nil
}

// UnmarshalJSON replaces all faults by those of an object. On an error it
// leaves them as they are.
func (f *Faults) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return errors.New("faults: want an object such as {\"loss\":0.01}")
	}
	var parsed Faults
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := string(bytes.TrimSpace(fields[key]))
		if strings.HasPrefix(value, `"`) {
			if err := json.Unmarshal(fields[key], &value); err != nil {
				return fmt.Errorf("fault %.40q: decode value: %w", key, err)
			}
		}
		if err := parsed.set(key, value); err != nil {
			return err
		}
	}
	*f = parsed
	return nil
}

// set is the one place that knows the keys.
func (f *Faults) set(key, value string) error {
	var err error
	switch key {
	case "delay":
		f.Delay, err = ParseDelay(value)
	case "loss":
		f.Loss, err = parseProbability(value)
	case "duplicate":
		f.Duplicate, err = parseProbability(value)
	case "refuse":
		f.Refuse, err = parseProbability(value)
	case "reorder", "stall":
		return fmt.Errorf("fault %q is not available yet: there are %s", key, knownFaults)
	default:
		return fmt.Errorf("unknown fault %.40q: there are %s", key, knownFaults)
	}
	if err != nil {
		return fmt.Errorf("fault %s=%.40q: %w", key, value, err)
	}
	return nil
}

var errProbability = errors.New("want a probability from 0 to 1")

func parseProbability(text string) (float64, error) {
	p, err := strconv.ParseFloat(text, 64)
	if err != nil || !isProbability(p) {
		return 0, errProbability
	}
	return p, nil
}

// isProbability is false for NaN too.
func isProbability(p float64) bool { return p >= 0 && p <= 1 }

// validate is for faults that were not parsed.
func (f Faults) validate() error {
	var problems []error
	for _, p := range []struct {
		key   string
		value float64
	}{{"loss", f.Loss}, {"duplicate", f.Duplicate}, {"refuse", f.Refuse}} {
		if !isProbability(p.value) {
			problems = append(problems, fmt.Errorf("fault %s=%v: %w", p.key, p.value, errProbability))
		}
	}
	return errors.Join(problems...)
}
