package dial_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/dial"
)

func allow(prefixes ...string) *dial.Allow {
	var parsed []netip.Prefix
	for _, p := range prefixes {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return dial.NewAllow(parsed)
}

func TestCheckKnowsWhatIsAllowed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		allowed []string
		ip      string
		ok      bool
	}{
		{"loopback needs no entry", nil, "127.0.0.1", true},
		{"all of 127/8 is loopback", nil, "127.9.8.7", true},
		{"loopback of IPv6", nil, "::1", true},
		{"loopback written as IPv6", nil, "::ffff:127.0.0.1", true},
		{"an empty list allows nothing else", nil, "192.0.2.1", false},
		{"unspecified is not loopback", nil, "0.0.0.0", false},
		{"unspecified of IPv6 is not loopback", nil, "::", false},
		{"inside a prefix", []string{"192.0.2.0/24"}, "192.0.2.200", true},
		{"inside a prefix, written as IPv6", []string{"192.0.2.0/24"}, "::ffff:192.0.2.200", true},
		{"outside a prefix", []string{"192.0.2.0/24"}, "192.0.3.1", false},
		{"a prefix with host bits counts as its network", []string{"192.0.2.77/24"}, "192.0.2.1", true},
		{"the second of two prefixes", []string{"198.51.100.0/24", "2001:db8::/32"}, "2001:db8::5", true},
		{"a zone does not matter", []string{"fe80::/10"}, "fe80::1%eth0", true},
		{"everything of IPv4 is not everything", []string{"0.0.0.0/0"}, "2001:db8::5", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := allow(tt.allowed...).Check(netip.MustParseAddr(tt.ip))
			if (err == nil) != tt.ok {
				t.Fatalf("Check(%s) with %v = %v, want allowed: %t", tt.ip, tt.allowed, err, tt.ok)
			}
			if refused := new(dial.NotAllowedError); err != nil && !errors.As(err, &refused) {
				t.Fatalf("Check(%s) = %T, want *NotAllowedError", tt.ip, err)
			}
		})
	}
}

func TestNotAllowedErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	err := allow("198.51.100.0/24").Check(netip.MustParseAddr("192.0.2.1"))
	for _, want := range []string{"192.0.2.1", "198.51.100.0/24", "add 192.0.2.1/32 to safety.allow"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
}

func TestCheckHostChecksWhatTheNameResolvesTo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, hostport, resolved string
		allowed                  []string
		ok                       bool
	}{
		{"a literal, with port", "127.0.0.1:9090", "", nil, true},
		{"a literal, without port", "127.0.0.1", "", nil, true},
		{"a literal of IPv6, with port", "[::1]:9090", "", nil, true},
		{"a literal of IPv6, in brackets", "[::1]", "", nil, true},
		{"a forbidden literal", "192.0.2.1:80", "", nil, false},
		{"a name of an allowed address", "target.example:80", "192.0.2.1", []string{"192.0.2.0/24"}, true},
		{"a name of a forbidden address", "target.example:80", "192.0.2.1", nil, false},
		{"a name that means loopback", "target.example", "127.0.0.1", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := allow(tt.allowed...)
			if tt.resolved != "" {
				a.UseResolver(resolverTo(netip.MustParseAddr(tt.resolved)))
			}
			err := a.CheckHost(t.Context(), tt.hostport)
			if tt.ok {
				if err != nil {
					t.Fatalf("CheckHost(%q) = %v, want nil", tt.hostport, err)
				}
				return
			}
			var refused *dial.NotAllowedError
			if !errors.As(err, &refused) {
				t.Fatalf("CheckHost(%q) = %v, want *NotAllowedError", tt.hostport, err)
			}
			if tt.resolved != "" && (refused.Host != "target.example" || !strings.Contains(err.Error(), "target.example (192.0.2.1)")) {
				t.Errorf("CheckHost(%q) = %q, want the name and the address in it", tt.hostport, err)
			}
		})
	}
}

func TestCheckHostReportsANameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	err := allow().CheckHost(t.Context(), "not a host name:80")
	var refused *dial.NotAllowedError
	if err == nil || errors.As(err, &refused) {
		t.Fatalf("CheckHost of nonsense = %v, want a resolver's error", err)
	}
}
