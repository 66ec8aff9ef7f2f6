package provision_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/exchange"
)

// withFallback is the configuration for an API in two places.
func withFallback(first, second *url.URL, on exchange.Failure) provision.HTTPConfig {
	cfg := httpConfig(first)
	cfg.FallbackURL, cfg.FallbackOn = second.String(), on
	return cfg
}

// answering counts requests and answers them all the same.
func answering(t *testing.T, status int) (*url.URL, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":"first"}`)
	})), asked
}

func TestHTTPFallsBackWhenUnreachable(t *testing.T) {
	t.Parallel()
	second, server := startTarget(t)
	source := mustHTTP(t, withFallback(mustParse(t, "http://"+closedPort(t)), second, exchange.Unreachable))
	ctx := t.Context()
	if _, err := source.Create(ctx, ann); err != nil || server.Counters().Accounts != 1 {
		t.Errorf("create: %v, %d accounts", err, server.Counters().Accounts)
	}
	if err := source.Verify(ctx, ann); err != nil {
		t.Errorf("verify: %v", err)
	}
	if n, err := source.(provision.Counter).Count(ctx); err != nil || n != 1 {
		t.Errorf("count: %d, %v", n, err)
	}
	if err := source.Delete(ctx, ann); err != nil || server.Counters().Accounts != 0 {
		t.Errorf("delete: %v, %d accounts", err, server.Counters().Accounts)
	}
}

func TestHTTPFallsBackOnItsStatusOnly(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int64{503: 1, 500: 0, 502: 0, 409: 0, 400: 0, 201: 0} {
		first, asked := answering(t, status)
		second, fallenBack := answering(t, 201)
		_, err := mustHTTP(t, withFallback(first, second, 503)).Create(t.Context(), ann)
		if fallenBack.Load() != want || asked.Load() < 1 {
			t.Errorf("%d: asked %d times and then elsewhere %d times (%v)", status, asked.Load(), fallenBack.Load(), err)
		}
		if (err == nil) != (status == 503 || status == 201) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestHTTPFallsBackOnce: the second answer counts, whatever it is.
func TestHTTPFallsBackOnce(t *testing.T) {
	t.Parallel()
	first, asked := answering(t, 503)
	second, fallenBack := answering(t, 503)
	source := mustHTTP(t, withFallback(first, second, 503))
	_, err := source.Create(t.Context(), ann)
	if err == nil || !strings.Contains(err.Error(), second.Host) || errors.Is(err, provision.ErrRefused) || asked.Load() != 1 || fallenBack.Load() != 1 {
		t.Errorf("asked %d times and elsewhere %d times: %v", asked.Load(), fallenBack.Load(), err)
	}
}

// TestHTTPDoesNotFallBackOnceSent: the first endpoint may have created the
// account when it does not answer, so nobody else is asked.
func TestHTTPDoesNotFallBackOnceSent(t *testing.T) {
	t.Parallel()
	for name, behave := range map[string]func(cancel func(), w http.ResponseWriter, r *http.Request){
		"no answer in time": func(cancel func(), _ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		},
		"connection cut": func(_ func(), w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		},
		"half an answer": func(_ func(), w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			first := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				behave(cancel, w, r)
			}))
			second, fallenBack := answering(t, 201)
			_, err := mustHTTP(t, withFallback(first, second, exchange.Unreachable)).Create(ctx, ann)
			if err == nil || errors.Is(err, provision.ErrRefused) || fallenBack.Load() != 0 {
				t.Errorf("got %v, asked elsewhere %d times", err, fallenBack.Load())
			}
		})
	}
}

// TestHTTPFallbackWhileDialling: what counts is that no connection came about,
// not why.
func TestHTTPFallbackWhileDialling(t *testing.T) {
	t.Parallel()
	first := mustParse(t, "http://first.invalid")
	for name, tt := range map[string]struct {
		dial func(context.Context, string, string) (net.Conn, error)
		want int64
	}{
		"no such host": {func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "first.invalid", IsNotFound: true}
		}, 1},
		"no answer": {func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done() // packets vanish
			return nil, ctx.Err()
		}, 1},
		"not allowed": {func(context.Context, string, string) (net.Conn, error) {
			return nil, &dial.NotAllowedError{Host: "first.invalid", Addr: netip.MustParseAddr("192.0.2.1")}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			second, fallenBack := answering(t, 201)
			cfg := withFallback(first, second, exchange.Unreachable)
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "first.invalid:80" {
					return tt.dial(ctx, network, address)
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			if _, err := mustHTTP(t, cfg).Create(t.Context(), ann); fallenBack.Load() != tt.want || (err == nil) != (tt.want == 1) {
				t.Errorf("got %v, asked elsewhere %d times", err, fallenBack.Load())
			}
		})
	}
}
