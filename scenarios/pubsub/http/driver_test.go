package httpdriver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/scenarios/pubsub"
	httpdriver "github.com/throng-load/throng/scenarios/pubsub/http"
)

// The worker's dialer is what drivers are given.
var _ pubsub.Dialer = (*dial.Dialer)(nil)

func TestNewTakesTargets(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"http+poll://127.0.0.1:9090", "https+poll://events.example", "http+poll://[::1]:9090/", "http+poll://h/base/path",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := httpdriver.New(u); err != nil {
			t.Errorf("New(%s) = %v", text, err)
		}
	}
}

func TestNewSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	tests := []struct {
		target string
		want   []string
	}{
		{"http://h", []string{`"http" is unknown`, "use http+poll or https+poll"}},
		{"ftp+poll://h", []string{`"ftp+poll" is unknown`}},
		{"redis://h", []string{`"redis" is unknown`}},
		{"http+poll+more://h", []string{"is unknown"}},
		{"http+sse://h", []string{`"http+sse" is not available yet`, "use http+poll"}},
		{"https+ws://h", []string{`"https+ws" is not available yet`, "use https+poll"}},
		{"http+poll:///path", []string{"no host"}},
		{"http+poll://:9090", []string{"no host"}},
		{"http+poll://h?a=b", []string{"a query or a fragment"}},
		{"http+poll://h#f", []string{"a query or a fragment"}},
		{"http+poll://u:hunter2@h", []string{"credentials"}},
		{"http+ws://u:hunter2@?a=b", []string{"not available yet", "no host", "credentials", "query"}},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			_, err = httpdriver.New(u)
			if err == nil {
				t.Fatalf("New(%s) succeeded", tt.target)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("New(%s) = %q, want %q in it", tt.target, err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("New(%s) = %q holds a password", tt.target, err)
			}
		})
	}
}

// request is what a target sees of one.
type request struct {
	Method, URI, Lease, Authorization, Body string
}

func TestRequestsOnTheWire(t *testing.T) {
	t.Parallel()
	seen := make(chan request, 16)
	release := make(chan struct{})
	note := func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read body: %v", err)
		}
		if r.Proto != "HTTP/1.1" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%s %s with encodings %q", r.Proto, r.URL, r.Header.Get("Accept-Encoding"))
		}
		seen <- request{r.Method, r.RequestURI, r.Header.Get("X-Throng-Lease"), r.Header.Get("Authorization"), string(body)}
	}
	s := newScripted(t, map[string]http.HandlerFunc{
		"POST /base/login": func(w http.ResponseWriter, r *http.Request) {
			note(r)
			fmt.Fprint(w, `{"token":"abc"}`)
		},
		"POST /base/channels/{channel}/events": func(w http.ResponseWriter, r *http.Request) {
			note(r)
			w.WriteHeader(http.StatusCreated)
		},
		"GET /base/channels/{channel}/events": func(w http.ResponseWriter, r *http.Request) {
			note(r)
			switch r.URL.Query().Get("after") {
			case "":
				fmt.Fprint(w, `{"position":7}`)
			case "7":
				fmt.Fprint(w, `{"position":9,"events":[{"position":8,"data":{"a":1}},{"position":9,"data":[ 2 ]}]}`)
			default:
				select {
				case <-r.Context().Done():
				case <-release:
				}
			}
		},
	})
	defer close(release)

	c := connect(t, newDriver(t, s.URL+"/base/"), leased(5))
	if err := c.Publish(t.Context(), "class/7", []byte(`{"x":true}`)); err != nil {
		t.Fatalf("Publish = %v", err)
	}
	got := make(chan string, 2)
	sub, err := c.Subscribe(t.Context(), "class/7", pubsub.Handler{Message: func(p []byte, _ time.Time) { got <- string(p) }})
	if err != nil {
		t.Fatalf("Subscribe = %v", err)
	}
	for _, want := range []string{`{"a":1}`, `[ 2 ]`} {
		if payload := receive(t, got, "a message"); payload != want {
			t.Errorf("payload = %s, want %s", payload, want)
		}
	}

	login := receive(t, seen, "the log-in")
	var credentials map[string]string
	if err := json.Unmarshal([]byte(login.Body), &credentials); err != nil ||
		len(credentials) != 2 || credentials["username"] != "student-5" || credentials["password"] != "secret-5" {
		t.Errorf("log-in with body %s, %v", login.Body, err)
	}
	login.Body = ""
	requests := []request{login}
	for range 4 {
		requests = append(requests, receive(t, seen, "a request"))
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	const events = "/base/channels/class%2F7/events"
	want := []request{
		{"POST", "/base/login", "1005", "", ""},
		{"POST", events, "1005", "Bearer abc", `{"x":true}`},
		{"GET", events, "1005", "Bearer abc", ""},
		{"GET", events + "?after=7&wait=25s", "1005", "Bearer abc", ""},
		{"GET", events + "?after=9&wait=25s", "1005", "Bearer abc", ""},
	}
	if !slices.Equal(requests, want) {
		t.Errorf("requests:\n%+v\nwant:\n%+v", requests, want)
	}
}

func TestChannelNamesAreOneSegment(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	s := newScripted(t, map[string]http.HandlerFunc{
		publishPattern: func(w http.ResponseWriter, r *http.Request) {
			seen <- r.PathValue("channel")
			w.WriteHeader(http.StatusCreated)
		},
	})
	c := connect(t, s.driver, leased(1))
	for _, channel := range []string{
		"plain", "a/b/c", "/a", "a//b", "with space", "ünï/cödé", "a?b=c&d#e;f,g", "%2F", "100%", ".", "..", "../x", "a+b", "\x00\xff", `"`,
	} {
		if err := c.Publish(t.Context(), channel, []byte("{}")); err != nil {
			t.Errorf("Publish to %q = %v", channel, err)
			continue
		}
		if got := <-seen; got != channel {
			t.Errorf("channel %q arrived as %q", channel, got)
		}
	}
	if err := c.Publish(t.Context(), "", []byte("{}")); err == nil || err.Error() != "empty channel name" {
		t.Errorf("Publish to no channel = %v", err)
	}
	if _, err := c.Subscribe(t.Context(), "", pubsub.Handler{}); err == nil || err.Error() != "empty channel name" {
		t.Errorf("Subscribe to no channel = %v", err)
	}
}
