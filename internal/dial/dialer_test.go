package dial_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/dial"
)

// patience bounds waits that only a broken implementation reaches.
const patience = 10 * time.Second

// echo listens on loopback and sends back what it gets. Received counts the
// bytes that arrived, over all connections.
type echo struct {
	address  string
	received atomic.Int64
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{address: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					e.received.Add(int64(n))
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	// Dialers are closed by their tests, so the echoes' reads end as well.
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return e
}

// fence is a Fence that tests let down.
type fence struct{ down atomic.Pointer[error] }

func (f *fence) Check() error {
	if err := f.down.Load(); err != nil {
		return *err
	}
	return nil
}

func newDialer(t *testing.T, a *dial.Allow, f dial.Fence) *dial.Dialer {
	t.Helper()
	d := dial.New(a, f)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return d
}

func mustDial(t *testing.T, d *dial.Dialer, address string) net.Conn {
	t.Helper()
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("DialContext(%s) = %v", address, err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestForbiddenAddressesAreRefusedBeforeAnyPacket(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, address, host string }{
		{"a literal", "192.0.2.1:80", ""},
		{"a name", "target.example:80", "target.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := allow("198.51.100.0/24")
			a.UseResolver(resolverTo(netip.MustParseAddr("192.0.2.1")))
			d := newDialer(t, a, nil)
			// Nothing answers at TEST-NET: if a packet left, the dial would
			// end with the context's error, not with the refusal.
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := d.DialContext(ctx, "tcp", tt.address)
			var refused *dial.NotAllowedError
			if !errors.As(err, &refused) {
				t.Fatalf("DialContext(%s) = %v, want *NotAllowedError", tt.address, err)
			}
			if refused.Addr != netip.MustParseAddr("192.0.2.1") || refused.Host != tt.host {
				t.Errorf("refused %q at %s, want %q at 192.0.2.1", refused.Host, refused.Addr, tt.host)
			}
		})
	}
}

func TestNamesOfAllowedAddressesAreDialled(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	a := allow()
	a.UseResolver(resolverTo(netip.MustParseAddr("127.0.0.1")))
	_, port, _ := net.SplitHostPort(e.address)
	mustDial(t, newDialer(t, a, nil), net.JoinHostPort("target.example", port))
}

func TestOnlyTCPIsDialled(t *testing.T) {
	t.Parallel()
	d := newDialer(t, allow("0.0.0.0/0"), nil)
	for _, network := range []string{"udp", "unix", "ip4:icmp", ""} {
		if c, err := d.DialContext(t.Context(), network, "127.0.0.1:9"); err == nil {
			c.Close()
			t.Errorf("DialContext(%q) succeeded", network)
		}
	}
}

func TestBytesAreCountedForTheDialerAndInTotal(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	var total dial.Bytes
	first, second := newDialer(t, allow(), nil), newDialer(t, allow(), nil)
	first.CountInto(&total)
	second.CountInto(&total)
	for d, text := range map[*dial.Dialer]string{first: "hello", second: "good morning"} {
		c := mustDial(t, d, e.address)
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, len(text))); err != nil {
			t.Fatal(err)
		}
		if in, out := d.Bytes().In(), d.Bytes().Out(); in != int64(len(text)) || out != in {
			t.Errorf("in, out = %d, %d; want %d each", in, out, len(text))
		}
	}
	if in, out := total.In(), total.Out(); in != 17 || out != 17 {
		t.Errorf("total in, out = %d, %d; want 17 each", in, out)
	}
}

func TestFenceHoldsBytesBack(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	f := &fence{}
	d := newDialer(t, allow(), f)
	c := mustDial(t, d, e.address)
	if _, err := c.Write([]byte("in time")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}

	lost := errors.New("lease ran out")
	f.down.Store(&lost)
	n, err := c.Write([]byte("too late"))
	if n != 0 || !errors.Is(err, dial.ErrFenced) || !errors.Is(err, lost) {
		t.Errorf("Write behind the fence = %d, %v; want 0, ErrFenced with the fence's error", n, err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after a refused write = %v, want net.ErrClosed", err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", e.address); !errors.Is(err, dial.ErrFenced) || !errors.Is(err, lost) {
		t.Errorf("DialContext behind the fence = %v, want ErrFenced with the fence's error", err)
	}
	if got := e.received.Load(); got != 7 {
		t.Errorf("the other side received %d bytes, want the 7 written in time", got)
	}
	if got := d.Bytes().Out(); got != 7 {
		t.Errorf("bytes out = %d, want 7", got)
	}
}

func TestCloseEndsConnectionsAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	d := newDialer(t, allow(), nil)
	closedBefore := mustDial(t, d, e.address)
	if err := closedBefore.Close(); err != nil {
		t.Fatal(err)
	}
	open := []net.Conn{mustDial(t, d, e.address), mustDial(t, d, e.address)}
	read := make(chan error, len(open))
	for _, c := range open {
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	}
	if err := d.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	for range open {
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read when the dialer was closed = %v, want net.ErrClosed", err)
		}
	}
	if _, err := d.DialContext(t.Context(), "tcp", e.address); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("DialContext after Close = %v, want ErrClosed", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

// Whatever the order of dialing and closing, no connection survives Close: each
// is either refused or closed.
func TestCloseWhileDialing(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	for range 50 {
		d := dial.New(allow(), nil)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				<-start
				c, err := d.DialContext(t.Context(), "tcp", e.address)
				if err != nil {
					if !errors.Is(err, dial.ErrClosed) {
						t.Errorf("DialContext during Close = %v, want ErrClosed", err)
					}
					return
				}
				c.SetReadDeadline(time.Now().Add(patience))
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read = %v, want net.ErrClosed", err)
				}
				c.Close()
			})
		}
		for range 2 {
			wg.Go(func() {
				<-start
				if err := d.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		}
		close(start)
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

func TestCancelledDialEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newDialer(t, allow(), nil).DialContext(ctx, "tcp", newEcho(t).address)
	if err == nil {
		t.Fatal("DialContext with a cancelled context succeeded")
	}
}

func BenchmarkWrite(b *testing.B) {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer sink.Close()
	go func() {
		for {
			c, err := sink.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	d := dial.New(allow(), &fence{})
	defer d.Close()
	c, err := d.DialContext(b.Context(), "tcp", sink.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(payload); err != nil {
			b.Fatal(err)
		}
	}
}
