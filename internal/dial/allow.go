package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Allow is the list of addresses that a run may send traffic to: the prefixes
// of safety.allow, and loopback always. One Allow serves a process; it does not
// change and is safe for concurrent use.
type Allow struct {
	prefixes []netip.Prefix
	// resolver is nil for the machine's own; tests bring one.
	resolver *net.Resolver
}

// NewAllow returns the list of the given prefixes. Without any, only loopback
// is allowed.
func NewAllow(prefixes []netip.Prefix) *Allow {
	masked := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		masked = append(masked, p.Masked())
	}
	return &Allow{prefixes: masked}
}

// Check says whether traffic may go to ip: nil, or a *NotAllowedError. IPv4
// addresses written as IPv6 ones count as IPv4, and zones do not matter.
func (a *Allow) Check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return nil
	}
	for _, p := range a.prefixes {
		if p.Contains(ip) {
			return nil
		}
	}
	return &NotAllowedError{Addr: ip, Allowed: a.prefixes}
}

// CheckHost resolves the host of hostport (the port may be missing) and checks
// every address it has. A command calls it before it starts anything: a Dialer
// checks again, address by address, since names may resolve differently later.
// It returns a *NotAllowedError, or the resolver's error wrapped.
func (a *Allow) CheckHost(ctx context.Context, hostport string) error {
	host := hostOf(hostport)
	addrs, err := a.lookup(ctx, host)
	if err != nil {
		return fmt.Errorf("resolve host %q: %w", host, err)
	}
	for _, ip := range addrs {
		if err := a.Check(ip); err != nil {
			return named(err, host)
		}
	}
	return nil
}

func (a *Allow) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := a.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	return resolver.LookupNetIP(ctx, "ip", host)
}

// control is called by net.Dialer with the address it is about to connect to,
// after name resolution and before the first packet.
func (a *Allow) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial: check address of %s: %w", network, err)
	}
	return a.Check(ap.Addr())
}

// NotAllowedError says that traffic was about to go to an address that
// safety.allow does not name. No packet was sent.
type NotAllowedError struct {
	// Host is the name that resolved to Addr; empty if Addr was given as such.
	Host string
	Addr netip.Addr
	// Allowed is what safety.allow names. Loopback is allowed on top of it.
	Allowed []netip.Prefix
}

// Error names the address, what is allowed, and what to do about it.
func (e *NotAllowedError) Error() string {
	what := e.Addr.String()
	if e.Host != "" {
		what = e.Host + " (" + what + ")"
	}
	allowed := "only loopback is"
	if len(e.Allowed) > 0 {
		texts := make([]string, 0, len(e.Allowed))
		for _, p := range e.Allowed {
			texts = append(texts, p.String())
		}
		allowed = "only loopback and " + strings.Join(texts, ", ") + " are"
	}
	return fmt.Sprintf("dial: no traffic may go to %s: %s allowed; if this is the system under test, add %s to safety.allow",
		what, allowed, netip.PrefixFrom(e.Addr, e.Addr.BitLen()))
}

// named returns the *NotAllowedError inside err with the host it came from,
// and any other error as it is.
func named(err error, host string) error {
	var refused *NotAllowedError
	if !errors.As(err, &refused) {
		return err
	}
	if _, literal := netip.ParseAddr(host); literal == nil {
		return refused
	}
	return &NotAllowedError{Host: host, Addr: refused.Addr, Allowed: refused.Allowed}
}

// hostOf returns the host of "host:port", "host", "[v6]:port" or "[v6]".
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}
