package provision_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/dial"
)

func TestHTTPErrorsStayShort(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"page":       "<html>" + password + "</html>",
		"long":       `{"error":"` + strings.Repeat("x", 50_000) + `"}`,
		"other JSON": `{"error":{"password":"` + password + `"}}`,
		"huge":       `{"error":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusBadGateway)
				_, _ = io.WriteString(w, body)
			}))
			_, err := newHTTP(t, base).Create(t.Context(), ann)
			if err == nil || len(err.Error()) > 400 || strings.Contains(err.Error(), "wörd") || !strings.Contains(err.Error(), "/accounts answered 502 Bad Gateway") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHTTPRetryAfter(t *testing.T) {
	t.Parallel()
	var after atomic.Value
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", after.Load().(string))
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	source := newHTTP(t, base)
	for text, want := range map[string]time.Duration{
		"2": 2 * time.Second, "60": time.Minute, "999999999999": time.Minute, "86400": time.Minute, "0": 0, "-1": 0, "": 0, "soon": 0,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	} {
		after.Store(text)
		_, err := source.Create(t.Context(), ann)
		var busy *provision.BusyError
		if errors.As(err, &busy) != (want > 0) || want > 0 && busy.After != want || errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "429 Too Many Requests") {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

func TestHTTPTransport(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		base := mustParse(t, "http://admin:hush@"+closedPort(t))
		_, err := newHTTP(t, base).Create(t.Context(), ann)
		if err == nil || errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "hush") {
			t.Errorf("got %v, want a failure that may pass", err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		t.Parallel()
		allow := dial.NewAllow([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
		cfg := httpConfig(mustParse(t, "http://192.0.2.1"))
		cfg.Dial = dial.New(allow, nil).DialContext
		_, err := mustHTTP(t, cfg).Create(t.Context(), ann)
		if !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "safety.allow") {
			t.Errorf("got %v, want a refusal that names safety.allow", err)
		}
	})
	t.Run("not allowed, but that is not the account's fault", func(t *testing.T) {
		t.Parallel()
		cfg := httpConfig(mustParse(t, "http://192.0.2.1"))
		cfg.Dial = dial.New(dial.NewAllow(nil), nil).DialContext
		if err := mustHTTP(t, cfg).Verify(t.Context(), ann); err == nil || errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "safety.allow") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the context ends", func(t *testing.T) {
		t.Parallel()
		asked := make(chan struct{})
		base := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the caller leave
			close(asked)
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		if _, err := newHTTP(t, base).Create(ctx, ann); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "POST "+base.String()+"/accounts") {
			t.Errorf("got %v", err)
		}
	})
}

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
