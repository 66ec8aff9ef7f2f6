package scenarios

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Param is a parameter of a scenario with its value as throng.yaml writes it on
// one line: "30", "{uniform: [2s, 8s]}".
type Param struct{ Name, Text string }

// Params returns the parameters of the spec's scenario in their order.
func (s *Spec) Params() ([]Param, error) {
	if s.Behaviour == nil {
		return nil, nil
	}
	tree, err := encodeValue(reflect.ValueOf(s.Behaviour))
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	mapping, ok := tree.(yaml.MapSlice)
	if !ok {
		return nil, nil // a scenario without parameters
	}
	params := make([]Param, len(mapping))
	for i, item := range mapping {
		params[i] = Param{Name: item.Key.(string), Text: flow(item.Value)}
	}
	return params, nil
}

// flow writes what encodeValue returns on one line.
func flow(v any) string {
	var parts []string
	switch v := v.(type) {
	case yaml.MapSlice:
		for _, item := range v {
			parts = append(parts, string(encodeText(item.Key.(string)))+": "+flowItem(item.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		for _, item := range v {
			parts = append(parts, flowItem(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// flowItem is flow within brackets, where texts may need quotes.
func flowItem(v any) string {
	if text, ok := v.(string); ok {
		return string(encodeText(text))
	}
	return flow(v)
}

// WithParams returns a copy of s in which some parameters of the scenario have
// other values, given as Params returns them. It does not check the copy as a
// whole: see Check. The error is a *SpecError without a place.
func (s *Spec) WithParams(values map[string]string, known []Scenario) (*Spec, error) {
	i := slices.IndexFunc(known, func(k Scenario) bool { return k.Name == s.Scenario })
	if i < 0 {
		return nil, &SpecError{Problems: []Problem{{Path: "scenario", Text: unknownName("scenario", s.Scenario, nil)}}}
	}
	params, err := s.Params()
	if err != nil {
		return nil, err
	}
	next, d := *s, newDecoder()
	next.Behaviour = known[i].New()
	mapping := ast.Mapping(nil, true)
	var problems []Problem
	for _, param := range params {
		text, given := values[param.Name]
		if !given {
			text = param.Text
		}
		root, err := parseYAML([]byte(param.Name + ": " + quoteScalar(text)))
		entry, ok := root.(*ast.MappingNode)
		if err != nil || !ok || len(entry.Values) != 1 {
			problems = append(problems, Problem{Path: "params." + param.Name, Text: quote(text) + " is not a value as throng.yaml has them"})
			continue
		}
		mapping.Values = append(mapping.Values, entry.Values...)
	}
	d.decode("params", mapping, &next.Behaviour)
	for _, p := range d.problems {
		p.Line, p.Column = 0, 0
		problems = append(problems, p)
	}
	if len(problems) > 0 {
		return nil, &SpecError{Problems: problems}
	}
	return &next, nil
}

// quoteScalar makes text a YAML value: what begins like a mapping, a list or a
// quoted text is one already.
func quoteScalar(text string) string {
	text = strings.TrimSpace(text)
	if text != "" && strings.ContainsRune(`{["`, rune(text[0])) {
		return text
	}
	return string(encodeText(text))
}
