package target

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxDelay bounds what may be asked for and what is drawn: long tails must not
// hold a channel back for good.
const maxDelay = time.Hour

// Delay is a distribution of delays. The zero value is no delay. Delays can be
// compared with ==.
type Delay struct {
	shape shape
	a, b  time.Duration
	sigma float64
}

type shape uint8

const (
	constant    shape = iota // a
	uniform                  // a to b
	exponential              // mean a
	lognormal                // median a, sigma
)

var errDelayForm = errors.New("want a duration such as 20ms, or uniform:5ms,50ms, exponential:20ms or lognormal:20ms,0.5 (median and sigma)")

// ParseDelay reads one of the forms
//
//	20ms                 constant
//	uniform:5ms,50ms     between two durations
//	exponential:20ms     by its mean
//	lognormal:20ms,0.5   by its median and the sigma of its logarithm
//
// Durations are those of Go, with unit, from 0 to 1h. Drawn delays are cut off
// at 1h.
func ParseDelay(text string) (Delay, error) {
	name, rest, found := strings.Cut(text, ":")
	if !found {
		name, rest = "constant", text
	}
	args := strings.Split(rest, ",")
	wantArgs, known := map[string]int{"constant": 1, "uniform": 2, "exponential": 1, "lognormal": 2}[name]
	if !known || len(args) != wantArgs {
		return Delay{}, errDelayForm
	}
	var d Delay
	var err error
	if d.a, err = parseBound(args[0]); err != nil {
		return Delay{}, err
	}
	switch name {
	case "uniform":
		d.shape = uniform
		if d.b, err = parseBound(args[1]); err != nil {
			return Delay{}, err
		}
		if d.b < d.a {
			return Delay{}, errors.New("the smaller duration comes first")
		}
	case "exponential":
		d.shape = exponential
	case "lognormal":
		d.shape = lognormal
		d.sigma, err = strconv.ParseFloat(strings.TrimSpace(args[1]), 64)
		if err != nil || !(d.sigma >= 0 && d.sigma <= 10) { // also refuses NaN
			return Delay{}, errors.New("sigma is a number from 0 to 10")
		}
	}
	return d, nil
}

func parseBound(text string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return 0, errDelayForm
	}
	if d < 0 || d > maxDelay {
		return 0, fmt.Errorf("a delay is from 0s to %v", maxDelay)
	}
	return d, nil
}

// String returns the form that ParseDelay reads.
func (d Delay) String() string {
	switch d.shape {
	case uniform:
		return "uniform:" + d.a.String() + "," + d.b.String()
	case exponential:
		return "exponential:" + d.a.String()
	case lognormal:
		return "lognormal:" + d.a.String() + "," + strconv.FormatFloat(d.sigma, 'g', -1, 64)
	default:
		return d.a.String()
	}
}

// MarshalText returns the form that ParseDelay reads.
func (d Delay) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDelay.
func (d *Delay) UnmarshalText(text []byte) error {
	parsed, err := ParseDelay(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// quantile returns the delay below which the share u, in [0, 1), of all delays
// lies: a uniform draw becomes a draw of this distribution.
func (d Delay) quantile(u float64) time.Duration {
	a := float64(d.a)
	switch d.shape {
	case uniform:
		a += u * float64(d.b-d.a)
	case exponential:
		a *= -math.Log1p(-u)
	case lognormal:
		// At u = 0 the exponent is -Inf for sigma > 0, which is the limit;
		// sigma = 0 would make it NaN.
		if d.sigma > 0 {
			a *= math.Exp(d.sigma * math.Sqrt2 * math.Erfinv(2*u-1))
		}
	}
	return time.Duration(min(a, float64(maxDelay)))
}
