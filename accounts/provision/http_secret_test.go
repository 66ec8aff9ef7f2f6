package provision_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/exchange"
)

// parrot is a target that answers every request with one status and text.
type parrot struct {
	mu     sync.Mutex
	status int
	body   string
}

func (p *parrot) say(status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = status, body
}

func (p *parrot) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.WriteHeader(p.status)
	_, _ = io.WriteString(w, p.body)
}

// quoted lists ways in which a target may quote a secret.
func quoted(secret string) map[string]string {
	js, _ := json.Marshal(secret) // of a string: cannot fail
	twice, _ := json.Marshal(string(js))
	return map[string]string{
		"plain":        secret,
		"JSON":         strings.Trim(string(js), `"`),
		"JSON in JSON": strings.Trim(string(twice), `"`),
		"Go":           strings.Trim(strconv.Quote(secret), `"`),
		"ASCII":        strings.Trim(strconv.QuoteToASCII(secret), `"`),
		"query":        url.QueryEscape(secret),
		"path":         url.PathEscape(secret),
		"lower":        strings.ToLower(url.QueryEscape(secret)),
		"twice":        url.QueryEscape(url.QueryEscape(secret)),
		"HTML":         html.EscapeString(secret),
		"slashes":      strings.ReplaceAll(secret, "/", `\/`),
	}
}

// TestHTTPNoSecretInErrors: whatever a target answers, and however it quotes
// the password, the token or our key, no error shows any of them.
func TestHTTPNoSecretInErrors(t *testing.T) {
	t.Parallel()
	p := new(parrot)
	cfg := httpConfig(serve(t, p))
	cfg.URL += "/${KEY}"
	cfg.API = exchange.API{
		Headers: map[string]string{"X-Key": "${KEY}"},
		// A bad idea that somebody will have.
		Create: &exchange.Request{Path: "/users?p={{query .Password}}", Error: "error"},
		Verify: &exchange.Request{Path: "/users/{{path .Password}}", Error: "error"},
		Delete: &exchange.Request{Path: "/users/{{json .Password | path}}", Error: "error"},
	}
	const key = "0ur-k€y/ abcd"
	cfg.Lookup = func(string) (string, bool) { return key, true }
	source := mustHTTP(t, cfg)
	rapid.Check(t, func(t *rapid.T) {
		// Letters, which no message of ours has in a row, and what is escaped.
		secret := rapid.StringMatching(`[QXZ]{3}`).Draw(t, "start") +
			rapid.StringOfN(rapid.SampledFrom([]rune("QXZ \"\\/'&<>%+=?#ä€😀\t\n\u200b.:{}")), 4, 24, -1).Draw(t, "secret") +
			rapid.StringMatching(`[QXZ]{3}`).Draw(t, "end")
		form := rapid.SampledFrom([]string{"plain", "JSON", "JSON in JSON", "Go", "ASCII", "query", "path", "lower", "twice", "HTML", "slashes"}).Draw(t, "form")
		status := rapid.SampledFrom([]int{400, 401, 403, 404, 409, 418, 422, 429, 500, 503}).Draw(t, "status")
		body, err := json.Marshal(map[string]string{"error": fmt.Sprintf("bad [%s] and [%s]", quoted(secret)[form], quoted(key)[form])})
		if err != nil {
			t.Fatal(err)
		}
		p.say(status, string(body))
		a := accounts.Account{Username: "ann", Password: accounts.NewSecret(secret), Role: "student", TargetID: "1"}
		for name, do := range map[string]func(context.Context, accounts.Account) error{
			"create": create(source), "verify": source.Verify, "delete": source.Delete,
		} {
			err := do(context.Background(), a)
			if err == nil {
				if name == "delete" && status == 404 {
					continue
				}
				t.Fatalf("%s answered %d: no error", name, status)
			}
			text := err.Error()
			// The letters are what no escape changes.
			for _, piece := range []string{secret[:3], secret[len(secret)-3:], "k€y", "abcd"} {
				if strings.Contains(strings.ToUpper(text), strings.ToUpper(piece)) {
					t.Fatalf("%s answered %s: %q shows %q", name, body, text, piece)
				}
			}
			if strings.ContainsAny(text, "\n\r") || len(text) > 1000 {
				t.Fatalf("%s answered %s: %q", name, body, text)
			}
			if printed := fmt.Sprintf("%v %+v %#v %q", err, err, a, err); strings.Contains(printed, secret) {
				t.Fatalf("%s prints as %s", name, printed)
			}
		}
	})
}

// FuzzHTTPAnswer: any answer to any request is a success or one short line.
func FuzzHTTPAnswer(f *testing.F) {
	f.Add(400, `{"error":"no"}`, password)
	f.Add(409, `{"role":"student"}`, "two\nlines")
	f.Add(503, `{"error":"the password is two lines"}`, "two lines")
	f.Add(500, `{"error":`, "")
	f.Add(200, `{"token":"x"}`, "12345678")
	f.Add(401, `{"error":"\u0070\u0061%70%61"}`, "papapapa")
	p := new(parrot)
	source := newHTTP(f, serve(f, p))
	f.Fuzz(func(t *testing.T, status int, body, secret string) {
		if status < 200 || status > 599 || len(secret) < 8 {
			return // no answer at all, or what we may well say ourselves
		}
		if status == 204 || status == 304 {
			body = "" // they have none
		}
		p.say(status, body)
		a := with(ann, secret)
		for name, do := range map[string]func(context.Context, accounts.Account) error{
			"create": create(source), "verify": source.Verify, "delete": source.Delete,
		} {
			err := do(t.Context(), a)
			if fine := status <= 299; fine != (err == nil) && status != 404 && status != 410 && name != "verify" {
				t.Errorf("%s answered %d: %v", name, status, err)
			}
			if err == nil {
				continue
			}
			if text := err.Error(); len(text) > 1200 || strings.ContainsAny(text, "\r\n") || strings.Contains(strings.ReplaceAll(text, "redacted", ""), secret) {
				t.Errorf("%s answered %d %q: the error is %q", name, status, body, text)
			}
		}
	})
}
