package provision_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/exchange"
)

func TestNewHTTPMistakes(t *testing.T) {
	t.Parallel()
	base := mustParse(t, "http://127.0.0.1:1")
	for name, tt := range map[string]struct {
		change func(*provision.HTTPConfig)
		want   string
	}{
		"no dial":             {func(c *provision.HTTPConfig) { c.Dial = nil }, "there is no Dial"},
		"no URL":              {func(c *provision.HTTPConfig) { c.URL = "" }, "account API: url: is not a URL such as"},
		"scheme":              {func(c *provision.HTTPConfig) { c.URL = "ftp://me:hunter2@x" }, "account API: url: is not a URL such as"},
		"broken URL":          {func(c *provision.HTTPConfig) { c.URL = "http://me:hunter2%@x" }, "account API: url: is not a URL such as"},
		"query":               {func(c *provision.HTTPConfig) { c.URL += "?key=hunter2" }, "account API: url: is not a URL such as"},
		"variable in the URL": {func(c *provision.HTTPConfig) { c.URL = "http://${HOST}" }, "account API: url: the environment variable HOST is not set"},
		"variable in a header": {func(c *provision.HTTPConfig) {
			c.API.Headers = map[string]string{"Authorization": "Bearer ${API_KEY}"}
			c.Lookup = func(string) (string, bool) { return "", false }
		}, "account API: headers.Authorization: the environment variable API_KEY is not set"},
		"reason of the fallback": {func(c *provision.HTTPConfig) { c.FallbackURL = "http://x" }, "fallback_url and fallback_on need each other"},
		"fallback":               {func(c *provision.HTTPConfig) { c.FallbackURL, c.FallbackOn = "x", 503 }, "account API: fallback_url: is not a URL"},
		"template": {func(c *provision.HTTPConfig) {
			c.API.Create = &exchange.Request{Path: "/u", Body: "{{.Usrname}}"}
			c.API.Login = &exchange.Request{Path: "/l"}
		}, "account API: create.body: line 1: no field Usrname"},
	} {
		cfg := httpConfig(base)
		tt.change(&cfg)
		source, err := provision.NewHTTP(cfg)
		if err == nil || source != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	// Every mistake has its line.
	cfg := httpConfig(base)
	cfg.URL, cfg.FallbackURL, cfg.FallbackOn = "http://${A}", "http://${B}", 503
	cfg.API.Headers = map[string]string{"X": "${C}"}
	if _, err := provision.NewHTTP(cfg); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestHTTPNeedsAttributes(t *testing.T) {
	t.Parallel()
	base, server := startTarget(t)
	cfg := httpConfig(base)
	cfg.API = exchange.API{
		Create: &exchange.Request{Path: "/accounts", Headers: map[string]string{"X-School": "{{.Attributes.school}}"}},
		Login:  &exchange.Request{Path: "/login", Headers: map[string]string{"X-Class": "{{.Attributes.class}}"}},
	}
	source := mustHTTP(t, cfg)
	a := ann
	_, err := source.Create(t.Context(), a)
	if !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), `create.headers.X-School: the account has no attribute "school"`) {
		t.Errorf("got %v", err)
	}
	a.Attributes = maps.Clone(a.Attributes)
	a.Attributes["school"] = "two\nlines"
	if _, err := source.Create(t.Context(), a); !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "cannot be in a header") {
		t.Errorf("got %v", err)
	}
	a.Attributes["class"] = "\x00"
	// Nothing is known of the account then.
	if err := source.Verify(t.Context(), a); err == nil || errors.Is(err, provision.ErrRefused) || errors.Is(err, provision.ErrMissing) {
		t.Errorf("got %v", err)
	}
	if err := source.Delete(t.Context(), a); !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "no delete request") {
		t.Errorf("got %v", err)
	}
	if _, counts := source.(provision.Counter); counts {
		t.Error("it counts without a request to count")
	}
	if n := server.Counters().Accounts; n != 0 {
		t.Errorf("%d accounts", n)
	}
}
