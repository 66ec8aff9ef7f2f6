package scenarios

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Dist is a distribution of durations: think times, session lengths, delays.
// Its randomness comes from the caller alone, so equal seeds give equal
// durations. The zero value is the constant 0. A Dist is a value that never
// changes; it is safe for concurrent use.
//
// In throng.yaml it is one of
//
//	5s   or   { constant: 5s }
//	{ uniform: [2s, 8s] }
//	{ exponential: 3s }   or   { exponential: { mean: 3s, max: 30s } }
//	{ lognormal: { median: 3s, sigma: 0.5, max: 60s } }
//	{ empirical: [[50%, 2s], [90%, 5s], [100%, 20s]] }
//
// What is drawn above max counts as max; max 0, or none, means no limit. The
// points of an empirical distribution say which share of the durations is not
// longer; between them, and from 0 to the first one, it is linear.
type Dist struct{ shape shape }

// Constant is always d.
func Constant(d time.Duration) Dist { return Dist{constantShape(int64(d))} }

// Uniform is evenly spread from low to high; low must not be above high.
func Uniform(low, high time.Duration) Dist { return Dist{uniformShape(int64(low), int64(high))} }

// Exponential has the given mean before the limit max, which must be 0 (none)
// or at least the mean.
func Exponential(mean, max time.Duration) Dist {
	return Dist{exponentialShape(int64(mean), int64(max))}
}

// LogNormal has the given median, and sigma (0 to 10) as the standard deviation
// of its logarithm. The limit max must be 0 (none) or at least the median.
func LogNormal(median time.Duration, sigma float64, max time.Duration) Dist {
	return Dist{logNormalShape(int64(median), sigma, int64(max))}
}

// Sample draws a duration. It is never negative and does not allocate. The
// source r must not be used by others meanwhile.
func (d Dist) Sample(r *rand.Rand) time.Duration {
	return time.Duration(toInt64(d.shape.sample(r)))
}

// Mean is the expected value of Sample.
func (d Dist) Mean() time.Duration { return time.Duration(toInt64(d.shape.mean())) }

// MarshalYAML returns the form that throng.yaml has for it. It fails for
// durations that have no text form.
func (d Dist) MarshalYAML() (any, error) { return newDistForm[Duration](d.shape), nil }

// UnmarshalYAML reads the forms of throng.yaml. Its error is a *SpecError.
func (d *Dist) UnmarshalYAML(n ast.Node) error {
	s, err := decodeShape[Duration](n, "a duration such as 5s")
	if err != nil {
		return err
	}
	d.shape = s
	return nil
}

// Count is a whole number from 0: of bytes, of messages, of members.
type Count int64

// UnmarshalText reads decimal digits.
func (c *Count) UnmarshalText(text []byte) error {
	v, err := parseCount(string(text))
	if err != nil {
		return err
	}
	*c = Count(v)
	return nil
}

// maxCount is the largest count: up to it a float64 is exact.
const maxCount = 1 << 53

// CountDist is a distribution of counts, such as the sizes of payloads in
// bytes. It is like Dist in everything else, also in throng.yaml, where whole
// numbers stand in the place of durations.
type CountDist struct{ shape shape }

// ConstantCount is always n.
func ConstantCount(n int64) CountDist { return CountDist{constantShape(n)} }

// UniformCount is evenly spread over the whole numbers from low to high, both
// included; low must not be above high.
func UniformCount(low, high int64) CountDist { return CountDist{uniformShape(low, high)} }

// LogNormalCount is to counts what LogNormal is to durations.
func LogNormalCount(median int64, sigma float64, max int64) CountDist {
	return CountDist{logNormalShape(median, sigma, max)}
}

// Sample draws a count. It is never negative and does not allocate. The source
// r must not be used by others meanwhile.
func (d CountDist) Sample(r *rand.Rand) int64 {
	if d.shape.kind == uniform {
		// Rounding would draw the two bounds half as often as the rest.
		low, high := d.shape.a(), d.shape.b()
		return toInt64(min(math.Floor(low+r.Float64()*(high-low+1)), high))
	}
	return toInt64(math.Round(d.shape.sample(r)))
}

// Mean is the expected value of Sample, but for its rounding to whole numbers.
func (d CountDist) Mean() float64 { return d.shape.mean() }

// MarshalYAML returns the form that throng.yaml has for it.
func (d CountDist) MarshalYAML() (any, error) { return newDistForm[Count](d.shape), nil }

// UnmarshalYAML reads the forms of throng.yaml. Its error is a *SpecError.
func (d *CountDist) UnmarshalYAML(n ast.Node) error {
	s, err := decodeShape[Count](n, "a whole number")
	if err != nil {
		return err
	}
	d.shape = s
	return nil
}
