package provision_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/exchange"
)

func TestHTTPWithAnotherAPI(t *testing.T) {
	t.Parallel()
	s := newShop()
	source := mustHTTP(t, openShop(t, s))
	ctx := t.Context()
	if err := source.Verify(ctx, ann); !errors.Is(err, provision.ErrMissing) {
		t.Errorf("verify before: %v, want ErrMissing", err)
	}
	for range 2 {
		if receipt, err := source.Create(ctx, ann); err != nil || receipt.TargetID != "1001" {
			t.Fatalf("create: %+v, %v", receipt, err)
		}
	}
	s.do(func() {
		if want := (shopUser{ann.Username, password, "7"}); len(s.byID) != 1 || s.byID["1001"] != want {
			t.Errorf("the shop has %v", s.byID)
		}
	})
	known := ann
	known.TargetID = "1001"
	if err := source.Verify(ctx, known); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := source.Verify(ctx, with(known, "another")); !errors.Is(err, provision.ErrRefused) {
		t.Errorf("verify with another password: %v, want ErrRefused", err)
	}
	s.do(func() { s.locked["1001"] = true })
	if err := source.Verify(ctx, known); !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "answered 423 Locked: locked") {
		t.Errorf("verify, locked: %v, want ErrRefused", err)
	}
	if n, err := source.(provision.Counter).Count(ctx); err != nil || n != 1 {
		t.Errorf("counted %d, %v", n, err)
	}
	for range 2 {
		if err := source.Delete(ctx, known); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if n, err := source.(provision.Counter).Count(ctx); err != nil || n != 0 {
		t.Errorf("counted %d at the end, %v", n, err)
	}
}

// TestHTTPFindsTheID: the answer to create was lost, or the pool never heard of
// it; the account is ours all the same.
func TestHTTPFindsTheID(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*exchange.API){
		"from login":                 func(*exchange.API) {},
		"from verify":                func(a *exchange.API) { a.Login.ID = "" },
		"from a verify with a token": func(a *exchange.API) { a.Login.ID, a.Verify.Headers = "", map[string]string{"X-As": "{{.Token}}"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop()
			s.forgetful = true
			cfg := openShop(t, s)
			change(&cfg.API)
			source := mustHTTP(t, cfg)
			for range 2 {
				if receipt, err := source.Create(t.Context(), ann); err != nil || receipt.TargetID != "1001" {
					t.Errorf("create: %+v, %v", receipt, err)
				}
			}
			if _, err := source.Create(t.Context(), with(ann, "another")); !errors.Is(err, provision.ErrTaken) {
				t.Errorf("create with another password: %v, want ErrTaken", err)
			}
			if err := source.Delete(t.Context(), ann); err != nil { // the pool knows no id
				t.Errorf("delete: %v", err)
			}
			err := source.Delete(t.Context(), ann)
			if name == "from a verify with a token" {
				// The API does not tell who is not there from who is wrong.
				if !errors.Is(err, provision.ErrRefused) {
					t.Errorf("delete again: %v, want ErrRefused", err)
				}
			} else if err != nil {
				t.Errorf("delete again: %v", err)
			}
			s.do(func() {
				if len(s.byID) != 0 {
					t.Errorf("the shop has %v", s.byID)
				}
			})
		})
	}
}

// TestHTTPLeavesOthersAlone: an account that the target has of our username,
// with another password, is neither ours nor deleted for us.
func TestHTTPLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	s := newShop()
	source := mustHTTP(t, openShop(t, s))
	s.byID["7"] = shopUser{login: ann.Username, secret: "theirs"}
	if _, err := source.Create(t.Context(), ann); !errors.Is(err, provision.ErrTaken) {
		t.Errorf("create: %v, want ErrTaken", err)
	}
	if err := source.Delete(t.Context(), ann); !errors.Is(err, provision.ErrRefused) {
		t.Errorf("delete: %v, want ErrRefused", err)
	}
	s.locked["7"], s.byID["7"] = true, shopUser{login: ann.Username, secret: password}
	// Locked says nothing about whose it is: it may not be dropped as taken.
	if _, err := source.Create(t.Context(), ann); !errors.Is(err, provision.ErrRefused) || errors.Is(err, provision.ErrTaken) {
		t.Errorf("create, locked: %v, want ErrRefused", err)
	}
	s.do(func() {
		if len(s.byID) != 1 {
			t.Errorf("the shop has %v", s.byID)
		}
	})
}

// TestHTTPDeletesAsTheAccount: an API where accounts delete themselves.
func TestHTTPDeletesAsTheAccount(t *testing.T) {
	t.Parallel()
	s := newShop()
	mine := make(chan string, 1)
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "DELETE" {
			mine <- r.URL.Path + " " + r.Header.Get("Authorization")
			return
		}
		s.ServeHTTP(w, r)
	}))
	cfg := openShop(t, s)
	cfg.URL = base.JoinPath("v2").String()
	cfg.API.Delete = &exchange.Request{Path: "/me", Headers: map[string]string{"authorization": "Bearer {{.Token}}"}}
	source := mustHTTP(t, cfg)
	if err := source.Delete(t.Context(), ann); err != nil {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := source.Create(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	if err := source.Delete(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	if got := <-mine; got != "/v2/me Bearer token of 1001" {
		t.Errorf("got %s", got)
	}
}

func TestHTTPWithoutLogin(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.forgetful = true
	cfg := openShop(t, s)
	cfg.API.Login = nil
	source := mustHTTP(t, cfg)
	ctx := t.Context()
	if err := source.Verify(ctx, ann); !errors.Is(err, provision.ErrMissing) {
		t.Errorf("verify before: %v", err)
	}
	if _, err := source.Create(ctx, ann); err != nil {
		t.Fatal(err)
	}
	if err := source.Verify(ctx, ann); err != nil {
		t.Errorf("verify: %v", err)
	}
	if _, err := source.Create(ctx, ann); !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "without a login request nobody can tell whose account that is") {
		t.Errorf("create again: %v", err)
	}
	if err := source.Delete(ctx, ann); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := source.Delete(ctx, ann); err != nil {
		t.Errorf("delete again: %v", err)
	}
}

// TestHTTPWrongPlaces: a configuration that reads answers wrongly says so.
func TestHTTPWrongPlaces(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*exchange.API)
		want   string
	}{
		"no id anywhere": {func(a *exchange.API) { a.Create.ID, a.Login.ID, a.Verify.ID = "id", "", "" },
			"answered 201 Created, and the id of the account is in no answer: correct create.id, or give login.id or verify.id"},
		"no id, no login": {func(a *exchange.API) { a.Create.ID, a.Login = "id", nil }, "answered 201 Created without id"},
		"no count":        {func(a *exchange.API) { a.Count.Value = "users" }, "/v2/stats answered 200 OK without a whole number at users"},
		"no token":        {func(a *exchange.API) { a.Login.Token = "token" }, "/v2/session answered 200 OK without token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := openShop(t, newShop())
			tt.change(&cfg.API)
			source := mustHTTP(t, cfg)
			_, err := source.Create(t.Context(), ann)
			_, countErr := source.(provision.Counter).Count(t.Context())
			err = errors.Join(err, source.Verify(t.Context(), ann), countErr)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestHTTPWrongKey: that we are not let in is no fault of the account.
func TestHTTPWrongKey(t *testing.T) {
	t.Parallel()
	cfg := openShop(t, newShop())
	cfg.Lookup = func(string) (string, bool) { return "wrong key", true }
	cfg.API.Login = nil
	source := mustHTTP(t, cfg)
	if err := source.Verify(t.Context(), ann); err == nil || errors.Is(err, provision.ErrRefused) || errors.Is(err, provision.ErrMissing) {
		t.Errorf("verify: %v", err)
	}
	_, err := source.Create(t.Context(), ann)
	if !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "answered 401 Unauthorized: who are you, Key redacted?") {
		t.Errorf("create: %v", err)
	}
}

func TestHTTPUnknownIDIsNotGuessed(t *testing.T) {
	t.Parallel()
	s := newShop()
	cfg := openShop(t, s)
	cfg.API.Login.ID, cfg.API.Verify.ID = "", ""
	source := mustHTTP(t, cfg)
	if _, err := source.Create(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	unknown := accounts.Account{Username: ann.Username, Password: ann.Password, Role: ann.Role}
	if err := source.Delete(t.Context(), unknown); !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "give login.id or verify.id") {
		t.Errorf("got %v", err)
	}
	s.do(func() {
		for _, line := range s.log {
			if strings.HasPrefix(line, "DELETE") {
				t.Errorf("asked for %s", line)
			}
		}
	})
}
