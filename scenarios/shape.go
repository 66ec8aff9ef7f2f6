package scenarios

import (
	"math"
	"math/rand/v2"
)

// kind is the family of a distribution.
type kind uint8

const (
	constant kind = iota
	uniform
	exponential
	logNormal
	empirical
)

// maxSigma keeps a lognormal distribution within what numbers can hold.
const maxSigma = 10

// shape is a distribution of numbers, whatever they count. It keeps the
// parameters as they were given, as integers, so that they can be written down
// again without loss.
type shape struct {
	kind kind
	// x is the constant, the lower bound, the mean or the median; y is the
	// upper bound, or the limit (0: none).
	x, y  int64
	sigma float64 // of lognormal
	// points is the cumulative distribution of empirical: both parts increase,
	// and the last share is 1. Nobody changes it.
	points []shapePoint
}

// shapePoint says that a share of all values is not above value.
type shapePoint struct {
	share float64
	value int64
}

func constantShape(v int64) shape        { return shape{kind: constant, x: v} }
func uniformShape(low, high int64) shape { return shape{kind: uniform, x: low, y: high} }

func exponentialShape(mean, limit int64) shape {
	if mean == 0 {
		return shape{} // always 0, as it is written down
	}
	return shape{kind: exponential, x: mean, y: limit}
}

func logNormalShape(median int64, sigma float64, limit int64) shape {
	if median == 0 {
		return shape{}
	}
	return shape{kind: logNormal, x: median, y: limit, sigma: sigma}
}

func (s shape) a() float64 { return float64(s.x) }
func (s shape) b() float64 { return float64(s.y) }

// limit is the largest value that may be drawn.
func (s shape) limit() float64 {
	if s.y == 0 {
		return math.Inf(1)
	}
	return s.b()
}

// sample draws a value.
func (s shape) sample(r *rand.Rand) float64 {
	switch s.kind {
	case uniform:
		return s.a() + r.Float64()*(s.b()-s.a())
	case exponential:
		return min(s.a()*r.ExpFloat64(), s.limit())
	case logNormal:
		return min(s.a()*math.Exp(s.sigma*r.NormFloat64()), s.limit())
	case empirical:
		return s.quantile(r.Float64())
	}
	return s.a()
}

// quantile is the value below which the share u of all values of an empirical
// distribution lies.
func (s shape) quantile(u float64) float64 {
	var from shapePoint
	for _, to := range s.points {
		if u < to.share {
			part := (u - from.share) / (to.share - from.share)
			return float64(from.value) + part*float64(to.value-from.value)
		}
		from = to
	}
	return float64(from.value)
}

// mean is the expected value of sample. With a limit m it is E[min(X, m)].
func (s shape) mean() float64 {
	switch s.kind {
	case uniform:
		return s.a() + (s.b()-s.a())/2
	case exponential:
		if s.y == 0 {
			return s.a()
		}
		return s.a() * -math.Expm1(-s.b()/s.a())
	case logNormal:
		return s.logNormalMean()
	case empirical:
		var sum float64
		var from shapePoint
		for _, to := range s.points {
			sum += (to.share - from.share) * (float64(from.value) + float64(to.value)) / 2
			from = to
		}
		return sum
	}
	return s.a()
}

// logNormalMean is median·exp(σ²/2)·Φ(z-σ) + m·(1-Φ(z)) with z = ln(m/median)/σ,
// where the limit m is infinite if there is none.
func (s shape) logNormalMean() float64 {
	full := s.a() * math.Exp(s.sigma*s.sigma/2)
	switch {
	case s.y == 0:
		return full
	case s.sigma == 0:
		return min(s.a(), s.b())
	}
	z := math.Log(s.b()/s.a()) / s.sigma
	return full*normalCDF(z-s.sigma) + s.b()*normalCDF(-z)
}

// normalCDF is Φ, the cumulative distribution of the standard normal.
func normalCDF(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// toInt64 converts v to the nearest integer that there is: not negative, not
// too large, 0 for not-a-number.
func toInt64(v float64) int64 {
	switch {
	case !(v > 0):
		return 0
	case v >= math.MaxInt64:
		return math.MaxInt64
	}
	return int64(v)
}
