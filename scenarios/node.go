package scenarios

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// field is a struct's field that has a key.
type field struct {
	name      string // the key
	index     []int  // as reflect's FieldByIndex takes it
	omitEmpty bool
}

// fields lists the exported fields of a struct that have a yaml tag; those of
// an inline struct are its own. Both directions, decoding and encoding, know the
// keys from here.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported():
		case name == "" && options == "inline":
			for _, inner := range fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				all = append(all, inner)
			}
		case name != "" && name != "-":
			all = append(all, field{name: name, index: []int{i}, omitEmpty: strings.Contains(options, "omitempty")})
		}
	}
	return all
}

// fieldNames lists the keys of a struct.
func fieldNames(t reflect.Type) []string {
	var names []string
	for _, f := range fields(t) {
		names = append(names, f.name)
	}
	return names
}

// position is where n begins, both counted from 1.
func position(n ast.Node) (line, column int) {
	// A mapping without braces begins at its first key; its own token is the
	// colon behind that.
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1, 1
	}
	p := n.GetToken().Position
	return max(1, p.Line), max(1, p.Column)
}

// scalarText is the text of a scalar as it was written, without its quotes.
// What it means is for its reader to say: a number is not told from a string.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// notA says that n is something else than what was wanted.
func notA(wanted string, n ast.Node) string {
	switch n.(type) {
	case *ast.NullNode:
		return "has no value: it must be " + wanted
	case *ast.MappingNode:
		return "must be " + wanted + ", not a mapping"
	case *ast.SequenceNode:
		return "must be " + wanted + ", not a list"
	}
	if s, ok := scalarText(n); ok {
		return quote(s) + " must be " + wanted
	}
	return "must be " + wanted
}

// notWhole explains why s is not an integer of the wanted size.
func notWhole(s string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of range", quote(s))
	}
	return fmt.Errorf("%s is not a whole number", quote(s))
}

// join appends a key, or an index in brackets, to a path.
func join(path, key string) string {
	if path == "" || key == "" || key[0] == '[' {
		return path + key
	}
	return path + "." + key
}

// parent is the path without its last key or index; "" is the whole file.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// parsePrefix reads a range of addresses, or one address as the range of
// itself. Addresses are in their shortest form: an IPv4 address within IPv6
// becomes IPv4, as it is when it is dialled.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not an address such as 10.1.2.3, or a range such as 10.0.0.0/8", quote(s))
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
