package scenarios

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// decoder walks a YAML tree against a Go value and collects every mistake with
// its place, where a library's decoder would stop at the first one. The yaml
// tags of the structs are the only list of the keys there are; what a value
// holds beforehand is the default of a key that is not given.
type decoder struct {
	problems []Problem
	// nodes has the value of every known key that was met, by its path.
	nodes map[string]ast.Node
	// unknown is asked about a key that the struct at path lacks; known are the
	// keys it has. It returns what is wrong, or "" if the key is in order.
	unknown func(path, key string, value ast.Node, known []string) string
}

func newDecoder() *decoder {
	return &decoder{
		nodes: make(map[string]ast.Node),
		unknown: func(_, key string, _ ast.Node, known []string) string {
			return unknownKey(key, known)
		},
	}
}

// decodeNode decodes n into the value that dst points to. Its error is a
// *SpecError, with paths that are relative to n.
func decodeNode(n ast.Node, dst any) error {
	d := newDecoder()
	d.decode("", n, dst)
	return d.err()
}

// defaulter is implemented by a type whose defaults depend on its key being
// there at all.
type defaulter interface{ setDefaults() }

// decode decodes n, which stands at path, into the value that dst points to.
func (d *decoder) decode(path string, n ast.Node, dst any) {
	d.value(path, n, reflect.ValueOf(dst).Elem())
}

// err is nil, or all problems so far.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return &SpecError{Problems: sortProblems(d.problems)}
}

// problem notes a mistake at n.
func (d *decoder) problem(path string, n ast.Node, text string) {
	line, column := position(n)
	d.problems = append(d.problems, Problem{Line: line, Column: column, Path: path, Text: oneLine(text)})
}

// value decodes n into dst, which can be set.
func (d *decoder) value(path string, n ast.Node, dst reflect.Value) {
	d.nodes[path] = n
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.problem(path, n, "anchors, aliases and tags are not supported: write the value itself")
		return
	}
	switch dst.Kind() {
	case reflect.Pointer:
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		d.value(path, n, dst.Elem())
		return
	case reflect.Interface:
		if !dst.IsNil() { // nil: whose parameters these are is not known
			d.value(path, n, dst.Elem())
		}
		return
	}
	if !dst.CanAddr() {
		d.problem(path, n, fmt.Sprintf("a %s cannot be set: the scenario must return a pointer", dst.Type()))
		return
	}
	if v, ok := dst.Addr().Interface().(defaulter); ok {
		v.setDefaults()
	}
	_, empty := n.(*ast.NullNode)
	if empty && (dst.Kind() == reflect.Struct || dst.Kind() == reflect.Map) && !isText(dst) {
		return // "accounts:" with nothing beneath it
	}
	switch v := dst.Addr().Interface().(type) {
	case yaml.NodeUnmarshaler:
		d.merge(path, n, v.UnmarshalYAML(n))
	case *netip.Prefix:
		d.text(path, n, func(s string) (err error) { *v, err = parsePrefix(s); return err })
	case *time.Duration:
		d.text(path, n, func(s string) (err error) { *v, err = ParseDuration(s); return err })
	case encoding.TextUnmarshaler:
		d.text(path, n, func(s string) error { return v.UnmarshalText([]byte(s)) })
	default:
		d.plain(path, n, dst)
	}
}

// isText says whether dst, a struct, is written as one text, not as a mapping.
func isText(dst reflect.Value) bool {
	switch dst.Addr().Interface().(type) {
	case *netip.Prefix, encoding.TextUnmarshaler, yaml.NodeUnmarshaler:
		return true
	}
	return false
}

// merge notes what a type's own decoding found wrong at n.
func (d *decoder) merge(path string, n ast.Node, err error) {
	var inner *SpecError
	switch {
	case err == nil:
	case errors.As(err, &inner):
		for _, p := range inner.Problems {
			p.Path = join(path, p.Path)
			d.problems = append(d.problems, p)
		}
	default:
		d.problem(path, n, err.Error())
	}
}

// text decodes a scalar by set.
func (d *decoder) text(path string, n ast.Node, set func(string) error) {
	s, ok := scalarText(n)
	if !ok {
		d.problem(path, n, notA("a single value", n))
	} else if err := set(s); err != nil {
		d.problem(path, n, err.Error())
	}
}

// plain decodes n into a value whose type has no decoding of its own.
func (d *decoder) plain(path string, n ast.Node, dst reflect.Value) {
	switch dst.Kind() {
	case reflect.Struct:
		d.structure(path, n, dst)
	case reflect.Slice:
		d.list(path, n, dst)
	case reflect.Map:
		d.table(path, n, dst)
	case reflect.String:
		d.text(path, n, func(s string) error { dst.SetString(s); return nil })
	case reflect.Bool:
		d.text(path, n, func(s string) error {
			if s != "true" && s != "false" {
				return fmt.Errorf("%s is not true or false", quote(s))
			}
			dst.SetBool(s == "true")
			return nil
		})
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.text(path, n, func(s string) error {
			v, err := strconv.ParseInt(s, 10, dst.Type().Bits())
			if err != nil {
				return notWhole(s, err)
			}
			dst.SetInt(v)
			return nil
		})
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.text(path, n, func(s string) error {
			v, err := strconv.ParseUint(s, 10, dst.Type().Bits())
			if err != nil {
				return notWhole(s, err)
			}
			dst.SetUint(v)
			return nil
		})
	case reflect.Float32, reflect.Float64:
		d.text(path, n, func(s string) error {
			v, err := strconv.ParseFloat(s, dst.Type().Bits())
			if err != nil || strings.Trim(s, "+-.0123456789eE") != "" { // 0x1p4, 1_0, Inf
				return fmt.Errorf("%s is not a number", quote(s))
			}
			dst.SetFloat(v)
			return nil
		})
	default:
		d.problem(path, n, fmt.Sprintf("a value of type %s cannot be given here", dst.Type()))
	}
}

// structure decodes a mapping into the fields that have a yaml tag.
func (d *decoder) structure(path string, n ast.Node, dst reflect.Value) {
	byName := make(map[string][]int)
	for _, f := range fields(dst.Type()) {
		byName[f.name] = f.index
	}
	d.entries(path, n, func(name string, key, value ast.Node) {
		at := join(path, pathKey(name))
		if index, ok := byName[name]; ok {
			d.value(at, value, dst.FieldByIndex(index))
		} else if text := d.unknown(path, name, value, fieldNames(dst.Type())); text != "" {
			d.problem(at, key, text)
		}
	})
}

// list decodes a sequence, which replaces the default.
func (d *decoder) list(path string, n ast.Node, dst reflect.Value) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(path, n, notA("a list such as [a, b]", n))
		return
	}
	dst.SetZero()
	for i, item := range sequence.Values {
		v := reflect.New(dst.Type().Elem()).Elem()
		d.value(join(path, "["+strconv.Itoa(i)+"]"), item, v)
		dst.Set(reflect.Append(dst, v))
	}
}

// table decodes a mapping whose keys the file chooses, which replaces the
// default.
func (d *decoder) table(path string, n ast.Node, dst reflect.Value) {
	dst.SetZero()
	d.entries(path, n, func(name string, _, value ast.Node) {
		if dst.IsNil() {
			dst.Set(reflect.MakeMap(dst.Type()))
		}
		v := reflect.New(dst.Type().Elem()).Elem()
		d.value(join(path, pathKey(name)), value, v)
		dst.SetMapIndex(reflect.ValueOf(name).Convert(dst.Type().Key()), v)
	})
}

// entries calls each for every key of the mapping n, but for repeated keys.
func (d *decoder) entries(path string, n ast.Node, each func(name string, key, value ast.Node)) {
	mapping, ok := n.(*ast.MappingNode)
	if !ok {
		d.problem(path, n, notA("a mapping such as { key: value }", n))
		return
	}
	first := make(map[string]int)
	for _, entry := range mapping.Values {
		name, ok := scalarText(entry.Key)
		if !ok {
			d.problem(path, entry.Key, "a key must be a plain name")
			continue
		}
		if line, repeated := first[name]; repeated {
			d.problem(join(path, pathKey(name)), entry.Key, fmt.Sprintf("is given twice, first on line %d", line))
			continue
		}
		first[name], _ = position(entry.Key)
		each(name, entry.Key, entry.Value)
	}
}
