package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/target"
)

const password = `pa"ss/wörd`

var ann = accounts.Account{
	Username: "ann/7 ?", Password: accounts.NewSecret(password), Role: "student", Key: "key of ann",
	Attributes: map[string]string{"class": "7"},
}

// startTarget serves the built-in target on loopback until the test ends.
func startTarget(t testing.TB) (*url.URL, *target.Server) {
	t.Helper()
	server, err := target.New(target.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, server.Handler()), server
}

func serve(t testing.TB, handler http.Handler) *url.URL {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return mustParse(t, s.URL)
}

func mustParse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// httpConfig is the configuration for an API at base.
func httpConfig(base *url.URL) provision.HTTPConfig {
	return provision.HTTPConfig{URL: base.String(), Dial: new(net.Dialer).DialContext}
}

// mustHTTP returns a source that closes its connections when the test ends.
func mustHTTP(t testing.TB, cfg provision.HTTPConfig) provision.Source {
	t.Helper()
	source, err := provision.NewHTTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.(io.Closer).Close() })
	return source
}

// newHTTP returns a source for the built-in target's API at base.
func newHTTP(t testing.TB, base *url.URL) provision.Source { return mustHTTP(t, httpConfig(base)) }

// create is Create without its receipt.
func create(s provision.Source) func(context.Context, accounts.Account) error {
	return func(ctx context.Context, a accounts.Account) error {
		_, err := s.Create(ctx, a)
		return err
	}
}

// with is an account with another password.
func with(a accounts.Account, password string) accounts.Account {
	a.Password = accounts.NewSecret(password)
	return a
}

func TestHTTPWithTheBuiltInTarget(t *testing.T) {
	t.Parallel()
	base, server := startTarget(t)
	source := newHTTP(t, base)
	ctx := t.Context()
	if err := source.Verify(ctx, ann); !errors.Is(err, provision.ErrMissing) {
		t.Errorf("verify before: %v, want ErrMissing", err)
	}
	for range 2 {
		if receipt, err := source.Create(ctx, ann); err != nil || receipt.TargetID != "" {
			t.Fatalf("create: %v, %v", receipt, err)
		}
	}
	if err := source.Verify(ctx, ann); err != nil {
		t.Errorf("verify: %v", err)
	}
	r, err := http.Get(base.JoinPath("accounts").String() + "/" + url.PathEscape(ann.Username))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if text, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(text), `"class":"7"`) || server.Counters().Accounts != 1 {
		t.Errorf("%d accounts, of which the target says %s (%v)", server.Counters().Accounts, text, err)
	}
	if n, err := source.(provision.Counter).Count(ctx); err != nil || n != 1 {
		t.Errorf("counted %d (%v)", n, err)
	}
	other := with(ann, "another")
	other.Key = "another"
	if _, err := source.Create(ctx, other); !errors.Is(err, provision.ErrTaken) {
		t.Errorf("create with another password: %v, want ErrTaken", err)
	}
	if err := source.Verify(ctx, other); !errors.Is(err, provision.ErrRefused) {
		t.Errorf("verify with another password: %v, want ErrRefused", err)
	}
	for range 2 {
		if err := source.Delete(ctx, ann); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if n, err := source.(provision.Counter).Count(ctx); err != nil || n != 0 || server.Counters().Accounts != 0 {
		t.Errorf("%d accounts are left, %v", n, err)
	}
}

// A target that has forgotten the key still has the account.
func TestHTTPRecognisesItsOwn(t *testing.T) {
	t.Parallel()
	base, server := startTarget(t)
	text, err := json.Marshal(map[string]any{"username": ann.Username, "password": password, "role": ann.Role})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(base.String()+"/accounts", "application/json", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := newHTTP(t, base).Create(t.Context(), ann); err != nil || server.Counters().Accounts != 1 {
		t.Errorf("%v, with %d accounts", err, server.Counters().Accounts)
	}
}

func TestHTTPRequests(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 2)
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		user, secret, _ := r.BasicAuth()
		h := r.Header
		seen <- strings.Join([]string{
			r.Method, r.RequestURI, h.Get("Idempotency-Key"), h.Get("Content-Type"), h.Get("X-Tenant"), user, secret, string(body),
		}, "|")
		w.WriteHeader(http.StatusCreated)
	}))
	base.Path, base.User = "/api/", url.UserPassword("admin", "hush")
	cfg := httpConfig(base)
	cfg.API.Headers = map[string]string{"x-tenant": "load ${TENANT}"}
	cfg.Lookup = func(name string) (string, bool) { return "seven", name == "TENANT" }
	source := mustHTTP(t, cfg)
	dots := accounts.Account{Username: "..", Password: accounts.NewSecret("x"), Role: "probe"}
	if err := errors.Join(create(source)(t.Context(), dots), source.Delete(t.Context(), dots)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`POST|/api/accounts|..|application/json|load seven|admin|hush|{"username":"..","password":"x","role":"probe"}`,
		`DELETE|/api/accounts/%2E%2E|||load seven|admin|hush|`,
	} {
		if got := <-seen; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestHTTPKey: each creation has its key, and a repetition has the same.
func TestHTTPKey(t *testing.T) {
	t.Parallel()
	keys := make(chan string, 3)
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { keys <- r.Header.Get("Idempotency-Key") }))
	source := newHTTP(t, base)
	again := ann
	again.Key = "another key"
	for _, a := range []accounts.Account{ann, ann, again} {
		if _, err := source.Create(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if a, b, c := <-keys, <-keys, <-keys; a != "key of ann" || a != b || c != "another key" {
		t.Errorf("got %q, %q, %q", a, b, c)
	}
}

func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	const fine, passing, refused, missing = "fine", "passing", "refused", "missing"
	for _, tt := range []struct {
		status                 int
		create, verify, delete string
	}{
		{200, fine, passing, fine}, // a login without a token
		{201, fine, passing, fine},
		{204, fine, passing, fine},
		{302, refused, passing, refused},
		{400, refused, passing, refused},
		{401, refused, refused, refused},
		{403, refused, refused, refused},
		{404, refused, passing, fine},
		{408, passing, passing, passing},
		{410, refused, passing, fine},
		{422, refused, passing, refused},
		{423, refused, refused, refused},
		{429, passing, passing, passing},
		{500, passing, passing, passing},
		{503, passing, passing, passing},
	} {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			t.Parallel()
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				if tt.status != http.StatusNoContent {
					_ = json.NewEncoder(w).Encode(map[string]string{"error": "no " + password + "\nfor you"})
				}
			}))
			source := newHTTP(t, base)
			for verb, do := range map[string]struct {
				want string
				call func(context.Context, accounts.Account) error
			}{"create": {tt.create, create(source)}, "verify": {tt.verify, source.Verify}, "delete": {tt.delete, source.Delete}} {
				err := do.call(t.Context(), ann)
				got := fine
				switch {
				case errors.Is(err, provision.ErrRefused):
					got = refused
				case errors.Is(err, provision.ErrMissing):
					got = missing
				case err != nil:
					got = passing
				}
				if got != do.want {
					t.Errorf("%s: got %s (%v), want %s", verb, got, err, do.want)
				}
				if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "\n") || tt.status >= 300 && !strings.Contains(err.Error(), "for you")) {
					t.Errorf("the error is %q; want the answer in one line, without the password", err)
				}
			}
		})
	}
}
