package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ParseEnv is what a throng.yaml is read against.
type ParseEnv struct {
	// Scenarios are the scenarios that a file can name.
	Scenarios []Scenario
	// Schemes are the URL schemes that a target can have.
	Schemes []string
	// Flags are the names of command-line flags that a file can give, with
	// dashes or underscores: in the file a dash is an underscore. Those that
	// are keys of load stand there, the others at the top.
	Flags []string
}

// maxSpecSize is far above any spec, and low enough for a parser that calls
// itself for every level of nesting.
const maxSpecSize = 256 << 10

// ParseSpec reads the text of a throng.yaml. All mistakes are reported at once,
// as a *SpecError whose problems carry name as their file.
func ParseSpec(name string, src []byte, env ParseEnv) (*Spec, error) {
	spec, d := defaultSpec(), newDecoder()
	root, err := parseYAML(src)
	d.merge("", root, err)
	if err == nil {
		spec.decode(d, root, env)
	}
	if err := d.err(); err != nil {
		specErr := err.(*SpecError) // the only type that err returns
		for i := range specErr.Problems {
			specErr.Problems[i].File = name
		}
		return nil, specErr
	}
	return spec, nil
}

// parseYAML returns the one document of src. An error that is not a *SpecError
// is about the whole file.
func parseYAML(src []byte) (ast.Node, error) {
	if len(src) > maxSpecSize {
		return nil, fmt.Errorf("is larger than %d KiB", maxSpecSize>>10)
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	// Repeated keys are reported by the decoder, with all other mistakes.
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax):
		p := Problem{Line: 1, Column: 1, Text: "syntax error: " + syntax.GetMessage()}
		if token := syntax.GetToken(); token != nil && token.Position != nil {
			p.Line, p.Column = max(1, token.Position.Line), max(1, token.Position.Column)
		}
		return nil, &SpecError{Problems: []Problem{p}}
	case err != nil:
		return nil, err
	case len(file.Docs) > 1:
		return nil, errors.New("must be one document, without --- in between")
	case len(file.Docs) == 1 && file.Docs[0].Body != nil && file.Docs[0].Body.Type() != ast.NullType:
		return file.Docs[0].Body, nil
	}
	return ast.Mapping(nil, true), nil // an empty file gives no key
}

// decode reads root into s, which holds the defaults.
func (s *Spec) decode(d *decoder, root ast.Node, env ParseEnv) {
	flags := newFlagKeys(env.Flags)
	d.unknown = flags.unknownKey
	scenario, scenarioProblem := findScenario(root, env.Scenarios)
	if scenario.New != nil {
		s.Behaviour = scenario.New()
		s.Accounts.Pool = scenario.Name
	}
	d.decode("", root, s)
	if _, ok := root.(*ast.MappingNode); !ok {
		return // not a spec at all, as the decoder says
	}
	if len(s.Load.Stages) > 0 && d.nodes["load.users"] == nil {
		s.Load.Users = s.Load.peak()
	}
	s.Settings = flags.settings(d.nodes)

	found := s.Check()
	if scenarioProblem != "" {
		found = append(found, Problem{Path: "scenario", Text: scenarioProblem})
	}
	if u, err := url.Parse(s.Target); err == nil && u.Host != "" && !slices.Contains(env.Schemes, u.Scheme) {
		found = append(found, Problem{Path: "target", Text: unknownName("scheme", u.Scheme, env.Schemes)})
	}
	d.addChecked(found)
}

// addChecked adds mistakes that were found in decoded values, with the place of
// their key or else of the closest key around it. A value that could not be
// decoded is the default meanwhile: what is wrong with that does not matter.
func (d *decoder) addChecked(found []Problem) {
	undecoded := make(map[string]bool)
	for _, p := range d.problems {
		undecoded[p.Path] = true
	}
	for _, p := range found {
		if undecoded[p.Path] {
			continue
		}
		at := p.Path
		for at != "" && d.nodes[at] == nil {
			at = parent(at)
		}
		if at == "" { // the mapping would be where its first key happens to be
			p.Line, p.Column = 1, 1
		} else {
			p.Line, p.Column = position(d.nodes[at])
		}
		d.problems = append(d.problems, p)
	}
}

// findScenario looks up the scenario that the file names, before anything else
// is decoded: its behaviour says what the parameters are.
func findScenario(root ast.Node, known []Scenario) (found Scenario, problem string) {
	names := make([]string, len(known))
	for i, s := range known {
		names[i] = s.Name
	}
	mapping, ok := root.(*ast.MappingNode)
	if !ok {
		return Scenario{}, ""
	}
	for _, entry := range mapping.Values {
		if key, _ := scalarText(entry.Key); key != "scenario" {
			continue
		}
		name, _ := scalarText(entry.Value) // if not a scalar, the decoder says so
		if i := slices.Index(names, name); i >= 0 {
			return known[i], ""
		}
		return Scenario{}, unknownName("scenario", name, names)
	}
	return Scenario{}, "is missing: name one of " + strings.Join(names, ", ")
}
