package provision_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/exchange"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// shop is somebody else's account API, as unlike the built-in target's as they
// come: it gives the ids, nests its JSON, takes a form to log in, wants a key
// of its administrator, and says 422 where others say 409.
type shop struct {
	// forgetful: it remembers no idempotency keys. Set it before the first
	// request.
	forgetful bool

	mu     sync.Mutex
	next   int
	byID   map[string]shopUser
	keys   map[string]string // idempotency key -> id
	locked map[string]bool   // ids
	log    []string
}

type shopUser struct{ login, secret, class string }

const shopKey = "shop admin key"

func newShop() *shop {
	return &shop{next: 1000, byID: map[string]shopUser{}, keys: map[string]string{}, locked: map[string]bool{}}
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, r.Method+" "+r.URL.Path)
	status, answer := s.route(r)
	w.WriteHeader(status)
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer)
	}
}

type object = map[string]any

func complaint(format string, args ...any) object {
	return object{"error": object{"code": 7, "message": fmt.Sprintf(format, args...)}}
}

func (s *shop) route(r *http.Request) (int, object) {
	if r.Method == "POST" && r.URL.Path == "/v2/session" {
		return s.session(r)
	}
	if r.Header.Get("Authorization") != "Key "+shopKey {
		return 401, complaint("who are you, %s?", r.Header.Get("Authorization"))
	}
	id, one := strings.CutPrefix(r.URL.Path, "/v2/users/")
	switch {
	case r.Method == "PUT" && r.URL.Path == "/v2/users":
		return s.register(r)
	case r.Method == "GET" && r.URL.Path == "/v2/users":
		return s.find(r.URL.Query().Get("login"))
	case r.Method == "DELETE" && one:
		if _, there := s.byID[id]; !there {
			return 410, nil
		}
		delete(s.byID, id)
		return 200, object{"deleted": id}
	case r.Method == "GET" && r.URL.Path == "/v2/stats":
		return 200, object{"stats": []any{object{"users": len(s.byID)}}}
	}
	return 405, complaint("no such thing")
}

func (s *shop) register(r *http.Request) (int, object) {
	var body struct {
		User struct{ Login, Secret, Class string }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.User.Secret == "" {
		return 400, complaint("not understood")
	}
	user := shopUser{body.User.Login, body.User.Secret, body.User.Class}
	if id, seen := s.keys[r.Header.Get("Idempotency-Key")]; seen && !s.forgetful {
		return 200, shopAnswer(id)
	}
	if _, there := s.idOf(user.login); there {
		return 422, complaint("login %q with secret %q is taken", user.login, user.secret)
	}
	s.next++
	id := fmt.Sprint(s.next)
	s.byID[id], s.keys[r.Header.Get("Idempotency-Key")] = user, id
	return 201, shopAnswer(id)
}

// shopAnswer has the id as a number, in a list.
func shopAnswer(id string) object {
	return object{"data": object{"users": []any{object{"id": json.Number(id)}}}}
}

func (s *shop) session(r *http.Request) (int, object) {
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return 415, complaint("want a form")
	}
	id, there := s.idOf(r.PostForm.Get("u"))
	switch {
	case !there || s.byID[id].secret != r.PostForm.Get("p"):
		return 400, complaint("wrong login or secret %s", url.QueryEscape(r.PostForm.Get("p")))
	case s.locked[id]:
		return 423, complaint("locked")
	}
	return 200, object{"session": object{"token": "token of " + id, "user": object{"id": json.Number(id)}}}
}

func (s *shop) find(login string) (int, object) {
	id, there := s.idOf(login)
	if !there {
		return 404, complaint("nobody")
	}
	return 200, shopAnswer(id)
}

func (s *shop) idOf(login string) (string, bool) {
	for id, user := range s.byID {
		if user.login == login {
			return id, true
		}
	}
	return "", false
}

// do changes or reads the shop's state.
func (s *shop) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// shopAPI is the shop's API as docs/provisioning.md shows it.
func shopAPI(t testing.TB) exchange.API {
	t.Helper()
	text, err := os.ReadFile("../../docs/provisioning.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```yaml\n")
	example, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("docs/provisioning.md has no example")
	}
	spec, err := scenarios.ParseSpec("docs/provisioning.md", []byte(example), scenarios.ParseEnv{
		Scenarios: []scenarios.Scenario{classroom.Scenario}, Schemes: []string{"http+poll"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return spec.Accounts.Provision.HTTP.API
}

// openShop serves the shop, and returns its configuration.
func openShop(t testing.TB, s *shop) provision.HTTPConfig {
	t.Helper()
	cfg := httpConfig(serve(t, s).JoinPath("v2"))
	cfg.API = shopAPI(t)
	cfg.Lookup = func(name string) (string, bool) { return shopKey, name == "SHOP_KEY" }
	return cfg
}
