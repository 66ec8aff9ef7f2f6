package target_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/target"
)

// service is a Server spoken to through its handler.
type service struct {
	*target.Server
	t testing.TB
}

func newService(t testing.TB, config target.Config) service {
	t.Helper()
	server, err := target.New(config)
	if err != nil {
		t.Fatalf("New(%+v): %v", config, err)
	}
	return service{Server: server, t: t}
}

// do sends a request; headers are name, value, name, value.
func (s service) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return s.send(newRequest(method, path, body, headers...))
}

func (s service) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func newRequest(method, path, body string, headers ...string) *http.Request {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, content)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// want sends a request that must be answered with the status.
func (s service) want(status int, method, path, body string, headers ...string) string {
	s.t.Helper()
	w := s.do(method, path, body, headers...)
	if w.Code != status {
		s.t.Fatalf("%s %s %.80s: got %d %s, want %d", method, path, body, w.Code, w.Body, status)
	}
	return w.Body.String()
}

// login makes an account with a role and returns the header that log-in gives.
func (s service) login(username, role string) (authorization string) {
	s.t.Helper()
	s.want(201, "POST", "/accounts", `{"username":"`+username+`","password":"pw","role":"`+role+`"}`)
	var got struct{ Token string }
	s.decode(s.want(200, "POST", "/login", `{"username":"`+username+`","password":"pw"}`), &got)
	return "Bearer " + got.Token
}

func (s service) decode(text string, into any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.t.Fatalf("decode %q: %v", text, err)
	}
}

func (s service) publish(authorization, channel, event string) (position int64) {
	s.t.Helper()
	var got struct{ Position int64 }
	s.decode(s.want(201, "POST", "/channels/"+channel+"/events", event, "Authorization", authorization), &got)
	return got.Position
}

type polled struct {
	Position int64
	Events   []struct {
		Position int64
		Data     json.RawMessage
	}
}

// data joins what was published, in order of delivery.
func (p polled) data() string {
	var all []string
	for _, e := range p.Events {
		all = append(all, string(e.Data))
	}
	return strings.Join(all, " ")
}

func (s service) poll(authorization, channel, query string) polled {
	s.t.Helper()
	var got polled
	s.decode(s.want(200, "GET", "/channels/"+channel+"/events"+query, "", "Authorization", authorization), &got)
	return got
}

func TestRoutesAndStatuses(t *testing.T) {
	t.Parallel()
	tooLarge := `"` + strings.Repeat("x", 1<<20) + `"`
	longName := strings.Repeat("n", 300)
	// Each row runs against a service with one account, ada, which is logged
	// in: AUTH stands for its header.
	for _, row := range []struct {
		name         string
		method, path string
		body         string
		headers      []string
		status       int
		contains     string
	}{
		{"health", "GET", "/healthz", "", nil, 200, `ok`},
		{"health by head", "HEAD", "/healthz", "", nil, 200, ``},
		{"no such path", "GET", "/nowhere", "", nil, 404, `{"error":"no such path"}`},
		{"wrong method", "PATCH", "/login", "", nil, 405, `use POST`},
		{"head is not a poll", "HEAD", "/channels/c/events", "", []string{"Authorization", "AUTH"}, 405, ``},

		{"create one", "POST", "/accounts", `{"username":"bob","password":"x","role":"probe","attributes":{"a":"b"}}`, nil, 201, `{"username":"bob","role":"probe","attributes":{"a":"b"}}`},
		{"create a list", "POST", "/accounts", ` [{"username":"bob","password":"x"}]`, nil, 201, `[{"username":"bob","role":"","attributes":{}}]`},
		{"create none", "POST", "/accounts", `[]`, nil, 400, `no account`},
		{"create twice in a list", "POST", "/accounts", `[{"username":"b","password":"x"},{"username":"b","password":"x"}]`, nil, 400, `given twice`},
		{"create without password", "POST", "/accounts", `{"username":"bob"}`, nil, 400, `needed`},
		{"create with a long name", "POST", "/accounts", `{"username":"` + longName + `","password":"x"}`, nil, 400, `longer`},
		{"create with a long key", "POST", "/accounts", `{"username":"b","password":"x"}`, []string{"Idempotency-Key", longName}, 400, `longer`},
		{"create from rubbish", "POST", "/accounts", `{"username":`, nil, 400, `want an account`},
		{"create one that is there", "POST", "/accounts", `{"username":"ada","password":"pw"}`, nil, 409, `there already`},
		{"create too much", "POST", "/accounts", tooLarge, nil, 413, `1 MiB`},
		{"read", "GET", "/accounts/ada", "", nil, 200, `{"username":"ada","role":"student","attributes":{}}`},
		{"read unknown", "GET", "/accounts/eve", "", nil, 404, `no such account`},
		{"delete", "DELETE", "/accounts/ada", "", nil, 204, ``},
		{"delete unknown", "DELETE", "/accounts/eve", "", nil, 404, `no such account`},

		{"log in", "POST", "/login", `{"username":"ada","password":"pw"}`, nil, 200, `{"token":"`},
		{"log in with wrong password", "POST", "/login", `{"username":"ada","password":"no"}`, nil, 401, `{"error":"wrong username or password"}`},
		{"log in unknown", "POST", "/login", `{"username":"eve","password":"pw"}`, nil, 401, `wrong username`},
		{"log in with rubbish", "POST", "/login", `ada`, nil, 400, `want`},
		{"log in with a bad lease", "POST", "/login", `{"username":"ada","password":"pw"}`, []string{"X-Throng-Lease", "x"}, 400, `X-Throng-Lease`},

		{"publish", "POST", "/channels/c/events", `{"a":1}`, []string{"Authorization", "AUTH"}, 201, `{"position":1}`},
		{"publish without token", "POST", "/channels/c/events", `{}`, nil, 401, `not logged in`},
		{"publish with wrong token", "POST", "/channels/c/events", `{}`, []string{"Authorization", "Bearer x"}, 401, `unknown token`},
		{"publish with wrong scheme", "POST", "/channels/c/events", `{}`, []string{"Authorization", "Basic x"}, 401, `not logged in`},
		{"publish no JSON", "POST", "/channels/c/events", `{"a":`, []string{"Authorization", "AUTH"}, 400, `not JSON`},
		{"publish nothing", "POST", "/channels/c/events", ``, []string{"Authorization", "AUTH"}, 400, `not JSON`},
		{"publish too much", "POST", "/channels/c/events", tooLarge, []string{"Authorization", "AUTH"}, 413, `1 MiB`},
		{"publish with a bad lease", "POST", "/channels/c/events", `{}`, []string{"Authorization", "AUTH", "X-Throng-Lease", "1.5"}, 400, `X-Throng-Lease`},
		{"publish to no channel", "POST", "/channels/events", `{}`, []string{"Authorization", "AUTH"}, 404, `no such path`},
		{"publish beside events", "POST", "/channels/c", `{}`, []string{"Authorization", "AUTH"}, 404, `no such path`},
		{"publish to a long name", "POST", "/channels/" + longName + "/events", `{}`, []string{"Authorization", "AUTH"}, 400, `channel's name`},

		{"poll from now", "GET", "/channels/c/events", "", []string{"Authorization", "AUTH"}, 200, `{"position":0,"events":[]}`},
		{"poll from now does not wait", "GET", "/channels/c/events?wait=60s", "", []string{"Authorization", "AUTH"}, 200, `{"position":0,"events":[]}`},
		{"poll", "GET", "/channels/c/events?after=0", "", []string{"Authorization", "AUTH"}, 200, `{"position":0,"events":[]}`},
		{"poll without token", "GET", "/channels/c/events", "", nil, 401, `not logged in`},
		{"poll after rubbish", "GET", "/channels/c/events?after=x", "", []string{"Authorization", "AUTH"}, 400, `after`},
		{"poll after nothing", "GET", "/channels/c/events?after=", "", []string{"Authorization", "AUTH"}, 400, `after`},
		{"poll after less than 0", "GET", "/channels/c/events?after=-1", "", []string{"Authorization", "AUTH"}, 400, `after`},
		{"poll with wrong wait", "GET", "/channels/c/events?after=0&wait=25", "", []string{"Authorization", "AUTH"}, 400, `wait`},
		{"poll with less than no wait", "GET", "/channels/c/events?after=0&wait=-1s", "", []string{"Authorization", "AUTH"}, 400, `wait`},
		{"poll with bad query", "GET", "/channels/c/events?after=%zz", "", []string{"Authorization", "AUTH"}, 400, `query`},

		{"read faults", "GET", "/admin/faults", "", nil, 200, `{"delay":"0s","loss":0,"duplicate":0,"refuse":0}`},
		{"put faults", "PUT", "/admin/faults", `{"loss":0.5,"delay":"uniform:5ms,50ms"}`, nil, 200, `{"delay":"uniform:5ms,50ms","loss":0.5,"duplicate":0,"refuse":0}`},
		{"put a later fault", "PUT", "/admin/faults", `{"stall":1}`, nil, 400, `not available yet`},
		{"put an unknown fault", "PUT", "/admin/faults", `{"los":1}`, nil, 400, `delay, loss, duplicate, refuse`},
		{"put rubbish", "PUT", "/admin/faults", `loss`, nil, 400, `not JSON`},
		{"delete faults", "DELETE", "/admin/faults", "", nil, 204, ``},
		{"counters", "GET", "/admin/counters", "", nil, 200, `"stale_token_requests":0`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, target.Config{})
			authorization := s.login("ada", "student")
			headers := make([]string, len(row.headers))
			for i, h := range row.headers {
				headers[i] = strings.Replace(h, "AUTH", authorization, 1)
			}
			w := s.do(row.method, row.path, row.body, headers...)
			if w.Code != row.status || !strings.Contains(w.Body.String(), row.contains) {
				t.Fatalf("got %d %s, want %d with %s", w.Code, w.Body, row.status, row.contains)
			}
			if w.Code >= 400 && w.Body.Len() > 0 {
				var e struct{ Error string }
				s.decode(w.Body.String(), &e)
				if e.Error == "" {
					t.Errorf("no error text in %s", w.Body)
				}
			}
			if w.Body.Len() > 0 && w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type is %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

func TestBodyOfUnknownLengthIsLimited(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	authorization := s.login("ada", "student")
	for _, row := range []struct{ size, status int }{{100, 201}, {1 << 20, 201}, {1<<20 + 1, 413}} {
		body := `"` + strings.Repeat("x", row.size-2) + `"`
		r := newRequest("POST", "/channels/c/events", body, "Authorization", authorization)
		r.ContentLength = -1
		if w := s.send(r); w.Code != row.status {
			t.Errorf("%d bytes: got %d, want %d", row.size, w.Code, row.status)
		}
	}
}

func TestShortBodyIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	r := newRequest("POST", "/login", `{}`)
	r.ContentLength = 10
	if w := s.send(r); w.Code != 400 {
		t.Errorf("got %d %s, want 400", w.Code, w.Body)
	}
}

func TestNewRefusesAWrongConfigAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := target.New(target.Config{Retain: -1, Faults: target.Faults{Loss: 2, Refuse: -1}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"retain -1", "loss=2", "refuse=-1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
}
