package keyspace_test

import (
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/keyspace"
)

func TestKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		namespace, kind, name string
		parts                 []string
		want                  string
	}{
		{"", "swarm", "default", []string{"plan"}, "throng:{swarm:default}:plan"},
		{"", "pool", "default", []string{"free", "student"}, "throng:{pool:default}:free:student"},
		{"test-1", "swarm", "a.b-c_d", []string{"plan"}, "test-1:{swarm:a.b-c_d}:plan"},
		{"test-1", "swarm", "s", nil, "test-1:{swarm:s}:"},
	} {
		if got := keyspace.New(tt.namespace, tt.kind, tt.name).Key(tt.parts...); got != tt.want {
			t.Errorf("New(%q, %q, %q).Key(%q) is %q, want %q", tt.namespace, tt.kind, tt.name, tt.parts, got, tt.want)
		}
	}
}

// hashTag is what Redis Cluster hashes of a key: what stands between the first
// brace and the next closing one, unless that is nothing.
func hashTag(key string) string {
	_, rest, open := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !open || !closed || tag == "" {
		return key
	}
	return tag
}

// Scripts take several keys of a space, so all must lie in one slot; and
// things that have nothing to do with each other should not.
func TestASpaceIsOneSlot(t *testing.T) {
	t.Parallel()
	a := keyspace.New("", "swarm", "a")
	for _, key := range []string{a.Key("plan"), a.Key("free", "student"), a.Key(), a.Key("with{braces}")} {
		if got := hashTag(key); got != "swarm:a" {
			t.Errorf("%q hashes by %q, want swarm:a", key, got)
		}
	}
	for what, other := range map[string]keyspace.Space{
		"another name": keyspace.New("", "swarm", "b"),
		"another kind": keyspace.New("", "pool", "a"),
	} {
		if hashTag(other.Key("plan")) == "swarm:a" {
			t.Errorf("%s shares the slot", what)
		}
		if other.Key("plan") == a.Key("plan") {
			t.Errorf("%s shares the key", what)
		}
	}
	if keyspace.New("test-1", "swarm", "a").Key("plan") == a.Key("plan") {
		t.Error("namespaces share a key")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 64)
	for _, name := range []string{"a", "default", "A-Z_0.9", ".", "0", long} {
		if err := keyspace.Check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", long + "x", "a b", "a:b", "{a}", "a}", "a/b", "ä", "a\n", "a\x00", "*", "\xff"} {
		if err := keyspace.Check(name); err == nil {
			t.Errorf("%q is let through", name)
		}
	}
}

// Whatever Check lets through cannot move a key to another slot, nor make two
// names share a key.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"a", "{a}", "a:b", "", "}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if keyspace.Check(name) != nil {
			return
		}
		key := keyspace.New("", "swarm", name).Key("plan")
		if got := hashTag(key); got != "swarm:"+name {
			t.Errorf("%q hashes by %q", key, got)
		}
		if want := "throng:{swarm:" + name + "}:plan"; key != want {
			t.Errorf("key %q, want %q", key, want)
		}
	})
}
