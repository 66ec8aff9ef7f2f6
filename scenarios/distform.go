package scenarios

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// amount is what a distribution is of, as throng.yaml writes it.
type amount interface{ Duration | Count }

// distForm is a distribution as it stands in throng.yaml: one field is set.
type distForm[T amount] struct {
	Constant    *T                  `yaml:"constant,omitempty"`
	Uniform     []T                 `yaml:"uniform,omitempty"`
	Exponential *exponentialForm[T] `yaml:"exponential,omitempty"`
	LogNormal   *logNormalForm[T]   `yaml:"lognormal,omitempty"`
	Empirical   []pointForm[T]      `yaml:"empirical,omitempty"`
}

type exponentialForm[T amount] struct {
	Mean T `yaml:"mean"`
	Max  T `yaml:"max,omitempty"`
}

type logNormalForm[T amount] struct {
	Median T       `yaml:"median"`
	Sigma  float64 `yaml:"sigma"`
	Max    T       `yaml:"max,omitempty"`
}

// pointForm is a pair: [90%, 5s].
type pointForm[T amount] struct {
	share Ratio
	value T
}

// UnmarshalYAML reads the mean alone, or a mapping.
func (e *exponentialForm[T]) UnmarshalYAML(n ast.Node) error {
	if _, isMapping := n.(*ast.MappingNode); !isMapping {
		return decodeNode(n, &e.Mean)
	}
	type plain exponentialForm[T] // without this method
	return decodeNode(n, (*plain)(e))
}

// UnmarshalYAML reads the pair.
func (p *pointForm[T]) UnmarshalYAML(n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok || len(list.Values) != 2 {
		return fmt.Errorf("must be a pair of a share and a value, such as [90%%, %v]", exampleOf[T]())
	}
	d := newDecoder()
	d.decode("[0]", list.Values[0], &p.share)
	d.decode("[1]", list.Values[1], &p.value)
	return d.err()
}

// MarshalYAML returns the pair.
func (p pointForm[T]) MarshalYAML() (any, error) { return []any{p.share, p.value}, nil }

// exampleOf is a value to show in a message.
func exampleOf[T amount]() T {
	var v T
	switch v := any(&v).(type) {
	case *Duration:
		*v = 5e9
	case *Count:
		*v = 500
	}
	return v
}

// decodeShape reads a distribution of T; what describes a T in a message.
func decodeShape[T amount](n ast.Node, what string) (shape, error) {
	if _, isScalar := scalarText(n); isScalar {
		var v T
		if err := decodeNode(n, &v); err != nil {
			return shape{}, err
		}
		return constantShape(int64(v)), nil
	}
	if _, isMapping := n.(*ast.MappingNode); !isMapping {
		return shape{}, fmt.Errorf("must be %s or a distribution: %s", what, distHint)
	}
	var f distForm[T]
	if err := decodeNode(n, &f); err != nil {
		return shape{}, err
	}
	return f.shape()
}

const distHint = "one of constant, uniform, exponential, lognormal, empirical"

// shape checks the form's values and converts it.
func (f distForm[T]) shape() (shape, error) {
	var shapes []shape
	var err error
	if f.Constant != nil {
		shapes = append(shapes, constantShape(int64(*f.Constant)))
	}
	if f.Uniform != nil {
		if len(f.Uniform) != 2 || f.Uniform[0] > f.Uniform[1] {
			err = errors.New("uniform must be a list of two values, the lower one first")
		} else {
			shapes = append(shapes, uniformShape(int64(f.Uniform[0]), int64(f.Uniform[1])))
		}
	}
	if e := f.Exponential; e != nil {
		switch {
		case e.Mean == 0:
			err = errors.New("exponential: the mean must be above 0")
		case e.Max != 0 && e.Max < e.Mean:
			err = fmt.Errorf("exponential: max %v is below the mean %v", e.Max, e.Mean)
		}
		shapes = append(shapes, exponentialShape(int64(e.Mean), int64(e.Max)))
	}
	if l := f.LogNormal; l != nil {
		switch {
		case l.Median == 0:
			err = errors.New("lognormal: the median must be above 0")
		case !(l.Sigma >= 0 && l.Sigma <= maxSigma):
			err = fmt.Errorf("lognormal: sigma %v is not from 0 to %d", l.Sigma, maxSigma)
		case l.Max != 0 && l.Max < l.Median:
			err = fmt.Errorf("lognormal: max %v is below the median %v", l.Max, l.Median)
		}
		shapes = append(shapes, logNormalShape(int64(l.Median), l.Sigma, int64(l.Max)))
	}
	if f.Empirical != nil {
		s, empiricalErr := empiricalShape(f.Empirical)
		if empiricalErr != nil {
			err = empiricalErr
		}
		shapes = append(shapes, s)
	}
	switch {
	case err != nil:
		return shape{}, err
	case len(shapes) != 1:
		return shape{}, fmt.Errorf("must have exactly %s", distHint)
	}
	return shapes[0], nil
}

// empiricalShape checks that shares and values increase and end at 1.
func empiricalShape[T amount](points []pointForm[T]) (shape, error) {
	s := shape{kind: empirical}
	var last shapePoint
	for i, p := range points {
		next := shapePoint{share: float64(p.share), value: int64(p.value)}
		if next.value < last.value || next.share < last.share || (i > 0 && next.share == last.share) {
			return shape{}, fmt.Errorf("empirical: the point %d is not above the one before it", i+1)
		}
		s.points = append(s.points, next)
		last = next
	}
	if last.share != 1 {
		return shape{}, errors.New("empirical: the last point must have the share 1 (100%)")
	}
	return s, nil
}

// newDistForm is the form that shape reads back to s.
func newDistForm[T amount](s shape) any {
	x, y := T(s.x), T(s.y)
	switch s.kind {
	case uniform:
		return distForm[T]{Uniform: []T{x, y}}
	case exponential:
		return distForm[T]{Exponential: &exponentialForm[T]{Mean: x, Max: y}}
	case logNormal:
		return distForm[T]{LogNormal: &logNormalForm[T]{Median: x, Sigma: s.sigma, Max: y}}
	case empirical:
		points := make([]pointForm[T], len(s.points))
		for i, p := range s.points {
			points[i] = pointForm[T]{share: Ratio(p.share), value: T(p.value)}
		}
		return distForm[T]{Empirical: points}
	}
	return x
}
