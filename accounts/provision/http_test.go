package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/target"
)

const password = `pa"ss/wörd`

var ann = accounts.Account{
	Username: "ann/7 ?", Password: accounts.NewSecret(password), Role: "student", Attributes: map[string]string{"class": "7"},
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

// newUser returns a client that keeps its connections, and closes them when the
// test ends.
func newUser(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestHTTPWithTheBuiltInTarget(t *testing.T) {
	t.Parallel()
	base, server := startTarget(t)
	source := provision.NewHTTP(base, newUser(t))
	ctx := t.Context()
	for range 2 {
		if err := source.Create(ctx, ann); err != nil {
			t.Fatalf("create: %v", err)
		}
	}
	r, err := newUser(t).Get(base.JoinPath("accounts").String() + "/" + url.PathEscape(ann.Username))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if text, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(text), `"class":"7"`) || server.Counters().Accounts != 1 {
		t.Errorf("%d accounts, of which the target says %s (%v)", server.Counters().Accounts, text, err)
	}
	other := ann
	other.Password = accounts.NewSecret("another")
	if err := source.Create(ctx, other); !errors.Is(err, provision.ErrTaken) {
		t.Errorf("create with another password: %v, want ErrTaken", err)
	}
	other = ann
	other.Role = "proctor"
	if err := source.Create(ctx, other); !errors.Is(err, provision.ErrTaken) {
		t.Errorf("create with another role: %v, want ErrTaken", err)
	}
	for range 2 {
		if err := source.Delete(ctx, ann); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if n := server.Counters().Accounts; n != 0 {
		t.Errorf("%d accounts are left", n)
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
	r, err := newUser(t).Post(base.String()+"/accounts", "application/json", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	source := provision.NewHTTP(base, newUser(t))
	if err := source.Create(t.Context(), ann); err != nil || server.Counters().Accounts != 1 {
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
		seen <- strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Idempotency-Key"), user, secret, string(body)}, " ")
		w.WriteHeader(http.StatusCreated)
	}))
	base.Path, base.User = "/api/", url.UserPassword("admin", "hush")
	source := provision.NewHTTP(base, newUser(t))
	dots := accounts.Account{Username: "..", Password: accounts.NewSecret("x"), Role: "probe"}
	if err := errors.Join(source.Create(t.Context(), dots), source.Delete(t.Context(), dots)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`POST /api/accounts .. admin hush {"username":"..","password":"x","role":"probe"}`,
		`DELETE /api/accounts/%2E%2E  admin hush `,
	} {
		if got := <-seen; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	const fine, passing, refused = "fine", "passing", "refused"
	for _, tt := range []struct {
		status         int
		create, delete string
	}{
		{200, fine, fine},
		{201, fine, fine},
		{204, fine, fine},
		{302, refused, refused},
		{400, refused, refused},
		{401, refused, refused},
		{403, refused, refused},
		{404, refused, fine},
		{422, refused, refused},
		{429, passing, passing},
		{500, passing, passing},
		{503, passing, passing},
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
			source := provision.NewHTTP(base, newUser(t))
			for verb, do := range map[string]func(context.Context, accounts.Account) error{tt.create: source.Create, tt.delete: source.Delete} {
				err := do(t.Context(), ann)
				got := fine
				switch {
				case errors.Is(err, provision.ErrRefused):
					got = refused
				case err != nil:
					got = passing
				}
				if got != verb {
					t.Errorf("got %s (%v), want %s", got, err, verb)
				}
				if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "for you")) {
					t.Errorf("the error is %q; want the answer in one line, without the password", err)
				}
			}
		})
	}
}

func TestHTTPErrorsStayShort(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"page":       "<html>" + password + "</html>",
		"long":       `{"error":"` + strings.Repeat("x", 50_000) + `"}`,
		"other JSON": `{"error":{"password":"` + password + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusBadGateway)
				_, _ = io.WriteString(w, body)
			}))
			err := provision.NewHTTP(base, newUser(t)).Create(t.Context(), ann)
			if err == nil || len(err.Error()) > 400 || strings.Contains(err.Error(), "wörd") || !strings.Contains(err.Error(), "502 Bad Gateway") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// answering is a transport that answers every request the same.
type answering struct {
	status int
	body   string
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func FuzzHTTPAnswer(f *testing.F) {
	f.Add(400, `{"error":"no"}`, password)
	f.Add(409, `{"role":"student"}`, "two\nlines")
	f.Add(503, `{"error":"the password is two lines"}`, "two lines")
	f.Add(500, `{"error":`, "")
	f.Fuzz(func(t *testing.T, status int, body, secret string) {
		if len(secret) < 8 {
			return // may well be part of what we say ourselves
		}
		a := ann
		a.Password = accounts.NewSecret(secret)
		source := provision.NewHTTP(mustParse(t, "http://127.0.0.1:1"), &http.Client{Transport: answering{status, body}})
		for _, do := range []func(context.Context, accounts.Account) error{source.Create, source.Delete} {
			err := do(t.Context(), a)
			if fine := status >= 200 && status <= 299; fine != (err == nil) && status != 404 {
				t.Errorf("answered %d: %v", status, err)
			}
			if err == nil {
				continue
			}
			if text := err.Error(); len(text) > 1200 || strings.ContainsAny(text, "\r\n") || strings.Contains(strings.ReplaceAll(text, "redacted", ""), secret) {
				t.Errorf("answered %d %q: the error is %q", status, body, text)
			}
		}
	})
}

func TestHTTPTransport(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := mustParse(t, "http://admin:hush@"+l.Addr().String())
		l.Close()
		err = provision.NewHTTP(base, newUser(t)).Create(t.Context(), ann)
		if err == nil || errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "hush") {
			t.Errorf("got %v, want a failure that may pass", err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		t.Parallel()
		allow := dial.NewAllow([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
		user := &http.Client{Transport: &http.Transport{DialContext: dial.New(allow, nil).DialContext}}
		err := provision.NewHTTP(mustParse(t, "http://192.0.2.1"), user).Create(t.Context(), ann)
		if !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "safety.allow") {
			t.Errorf("got %v, want a refusal that names safety.allow", err)
		}
	})
}

func TestBulkWithTheBuiltInTarget(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	pool := newPool(t, rdb, namespace)
	base, server := startTarget(t)
	p := provision.New(pool, provision.NewHTTP(base, newUser(t)), provision.Config{})
	want := map[string]int{"student": 1000, "proctor": 34, "probe": 4}
	if got := mustEnsure(t, p, want); got.Created != 1038 || server.Counters().Accounts != 1038 {
		t.Errorf("%+v, %d in the target", got, server.Counters().Accounts)
	}
	if result, err := p.DeleteAll(t.Context()); err != nil || result.Deleted != 1038 || server.Counters().Accounts != 0 {
		t.Errorf("%+v, %v, %d in the target", result, err, server.Counters().Accounts)
	}
}

func BenchmarkEnsure10000(b *testing.B) {
	rdb, namespace := redistest.Real(b)
	for b.Loop() {
		pool := newPool(b, rdb, namespace)
		base, _ := startTarget(b)
		p := provision.New(pool, provision.NewHTTP(base, newUser(b)), provision.Config{})
		mustEnsure(b, p, map[string]int{"student": 10_000})
		if _, err := p.DeleteAll(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
