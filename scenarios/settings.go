package scenarios

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// flagKeys is what a file can say about command-line flags. Flags that are
// keys of load stand there, where they are decoded like any other key; all
// others stand at the top, where no struct has a field for them.
type flagKeys struct {
	// top and load have the flags' names by their keys in the file.
	top, load map[string]string
	// found has the values of the flags of top that were met, by name.
	found map[string]ast.Node
}

func newFlagKeys(flags []string) *flagKeys {
	k := &flagKeys{
		top:   make(map[string]string),
		load:  make(map[string]string),
		found: make(map[string]ast.Node),
	}
	loadKeys := fieldNames(reflect.TypeFor[LoadSpec]())
	for _, name := range flags {
		key := strings.ReplaceAll(name, "-", "_")
		if slices.Contains(loadKeys, key) {
			k.load[key] = name
		} else {
			k.top[key] = name
		}
	}
	return k
}

// unknownKey is a decoder's unknown: it takes the flags at the top, and tells
// keys in the wrong place from keys that do not exist.
func (k *flagKeys) unknownKey(path, key string, value ast.Node, known []string) string {
	name, isFlag := k.top[key]
	switch {
	case path == "" && isFlag:
		if _, ok := scalarText(value); !ok {
			return notA("a single value", value)
		}
		k.found[name] = value
		return ""
	case path == "" && slices.Contains(fieldNames(reflect.TypeFor[LoadSpec]()), key):
		return "belongs under load"
	case path == "safety" && key == "max_rate":
		return "is not available yet: max_users limits the load"
	case path == "load" && isFlag:
		return "belongs at the top level, not under load"
	case path == "":
		// There are too many flags to list, but one of them may be meant.
		if _, ok := nearest(key, known); !ok {
			if near, ok := nearest(key, slices.Sorted(maps.Keys(k.top))); ok {
				return unknownKey(key, []string{near})
			}
		}
	}
	return unknownKey(key, known)
}

// settings returns the flags that were given, wherever they stand. Nodes has
// the values that were decoded, by path.
func (k *flagKeys) settings(nodes map[string]ast.Node) map[string]Setting {
	settings := make(map[string]Setting)
	for name, node := range k.found {
		settings[name] = newSetting(node)
	}
	for key, name := range k.top { // dead_man, which is decoded too
		if node, ok := nodes[key]; ok {
			settings[name] = newSetting(node)
		}
	}
	for key, name := range k.load {
		if node, ok := nodes[join("load", key)]; ok {
			settings[name] = newSetting(node)
		}
	}
	return settings
}

func newSetting(n ast.Node) Setting {
	text, _ := scalarText(n)
	line, column := position(n)
	return Setting{Text: text, Line: line, Column: column}
}
