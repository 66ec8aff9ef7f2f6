package scenarios

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// encode returns the YAML text that a decoder reads back to an equal value.
func encode(v any) ([]byte, error) {
	tree, err := encodeValue(reflect.ValueOf(v))
	if err != nil {
		return nil, err
	}
	// The library's own way with strings does not survive its own parser for
	// all of them ("-\x00b", "a[" within braces).
	node, err := yaml.ValueToNode(tree, yaml.CustomMarshaler(func(s string) ([]byte, error) {
		return encodeText(s), nil
	}))
	if err != nil {
		return nil, err
	}
	ast.Walk(keyEncoder{}, node)
	return []byte(node.String() + "\n"), nil
}

// keyEncoder writes keys as values are written, which the library does not.
type keyEncoder struct{}

// Visit implements ast.Visitor.
func (k keyEncoder) Visit(n ast.Node) ast.Visitor {
	entry, ok := n.(*ast.MappingValueNode)
	if !ok {
		return k
	}
	if key, ok := entry.Key.(*ast.StringNode); ok {
		name := key.Value
		if quoted, err := strconv.Unquote(name); err == nil && strings.HasPrefix(name, `"`) {
			name = quoted // by the library, as is every name that begins with a quote
		}
		key.Value = string(encodeText(name))
	}
	return k
}

// encodeValue turns v into mappings, lists, texts and numbers, by the same tags
// and methods that decoding uses.
func encodeValue(v reflect.Value) (any, error) {
	switch x := v.Interface().(type) {
	case yaml.InterfaceMarshaler:
		form, err := x.MarshalYAML()
		if err != nil {
			return nil, err
		}
		return encodeValue(reflect.ValueOf(form))
	case time.Duration:
		return encodeValue(reflect.ValueOf(Duration(x)))
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		return string(text), err
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return encodeValue(v.Elem())
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			item, err := encodeValue(v.Index(i))
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list = append(list, item)
		}
		return list, nil
	case reflect.Map:
		return encodeMap(v)
	case reflect.String:
		return v.String(), nil
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits()), nil
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprint(v.Interface()), nil
	}
	return nil, fmt.Errorf("a value of type %s has no text form", v.Type())
}

// encodeStruct lists the fields that have a yaml tag. A nil pointer, or nil
// interface, is a key that is not given.
func encodeStruct(v reflect.Value) (any, error) {
	mapping := yaml.MapSlice{}
	for _, f := range fields(v.Type()) {
		value := v.FieldByIndex(f.index)
		kind := value.Kind()
		if (kind == reflect.Pointer || kind == reflect.Interface) && value.IsNil() || f.omitEmpty && value.IsZero() {
			continue
		}
		item, err := encodeValue(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		mapping = append(mapping, yaml.MapItem{Key: f.name, Value: item})
	}
	return mapping, nil
}

// encodeMap lists a map's entries in the order of their keys, which are strings.
func encodeMap(v reflect.Value) (any, error) {
	mapping := yaml.MapSlice{}
	for _, key := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
		return cmp.Compare(a.String(), b.String())
	}) {
		item, err := encodeValue(v.MapIndex(key))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		mapping = append(mapping, yaml.MapItem{Key: key.String(), Value: item})
	}
	return mapping, nil
}

// encodeText writes s plainly if nothing in it can mean anything else, and
// otherwise in double quotes, whose escapes Go and YAML share.
func encodeText(s string) []byte {
	const first = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	plain := s != "" && strings.Trim(s, first+"_./%") == "" && strings.ContainsRune(first, rune(s[0]))
	if plain && !strings.EqualFold(s, "null") {
		return []byte(s)
	}
	return []byte(strconv.QuoteToASCII(s))
}
