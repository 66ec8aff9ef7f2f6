// Package keyspace names keys in Redis. Every package that talks to Redis has
// one keys.go whose functions start from a Space, so that no key is spelled in
// two places, tests can live in namespaces of their own on a shared server,
// and all keys of one swarm or one pool share a slot of Redis Cluster.
//
// It knows nothing of what is stored under the keys and never talks to Redis.
package keyspace

import (
	"fmt"
	"strings"
)

// Namespace is the prefix of every key in production. Tests use their own.
const Namespace = "throng"

// Space is a set of keys with one prefix and one hash tag. The zero value is
// not usable; call New. A Space is a value: copies are independent and safe
// for concurrent use.
type Space struct {
	prefix string
}

// New returns the space "namespace:{kind:name}:". An empty namespace means
// Namespace. The name must have passed Check.
func New(namespace, kind, name string) Space {
	if namespace == "" {
		namespace = Namespace
	}
	return Space{prefix: namespace + ":{" + kind + ":" + name + "}:"}
}

// Key returns the key of the given parts, joined by colons.
func (s Space) Key(parts ...string) string {
	return s.prefix + strings.Join(parts, ":")
}

// Check says whether a name given by a user (of a swarm, of a pool) can stand
// in a key: 1 to 64 letters, digits, dots, dashes and underscores. Braces in
// particular would move keys to another slot of a Cluster.
func Check(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("name %q: use 1 to 64 characters", name)
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		default:
			return fmt.Errorf("name %q: %q is not allowed; use letters, digits, dots, dashes and underscores", name, r)
		}
	}
	return nil
}
