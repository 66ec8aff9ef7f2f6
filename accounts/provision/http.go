package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
)

const (
	// maxAnswer bounds how much of an answer is read. In bytes.
	maxAnswer = 64 << 10
	// maxReason bounds what is shown of an answer. In characters.
	maxReason = 200
)

// HTTP is a Source that speaks the built-in target's account API:
//
//	POST   /accounts             {username,password,role,attributes}, Idempotency-Key
//	DELETE /accounts/{username}
//
// and, only where the target says that a username is there already and does
// not recognise the key, to tell whose it is:
//
//	GET    /accounts/{username}  for the role
//	POST   /login                for the password
//
// It is safe for concurrent use.
type HTTP struct {
	base *url.URL // no trailing slash, query or fragment
	user http.Client
}

// NewHTTP returns a Source for the account API at base, an http or https URL
// whose path, if any, comes before that of every request. The client's
// transport decides where traffic may go, and should keep as many idle
// connections to one host as there are calls at a time. Redirects are not
// followed: an account's password goes to base only.
func NewHTTP(base *url.URL, client *http.Client) *HTTP {
	h := &HTTP{user: *client, base: &url.URL{
		Scheme:  base.Scheme,
		User:    base.User,
		Host:    base.Host,
		Path:    strings.TrimRight(base.Path, "/"),
		RawPath: strings.TrimRight(base.EscapedPath(), "/"),
	}}
	h.user.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return h
}

// Create implements Source.
func (h *HTTP) Create(ctx context.Context, a accounts.Account) error {
	body := struct {
		Username   string            `json:"username"`
		Password   string            `json:"password"`
		Role       string            `json:"role"`
		Attributes map[string]string `json:"attributes,omitempty"`
	}{a.Username, a.Password.Reveal(), a.Role, a.Attributes}
	got, err := h.send(ctx, http.MethodPost, "/accounts", "/accounts", a.Username, body)
	switch {
	case err != nil:
		return err
	case got.status == http.StatusConflict:
		return h.recognise(ctx, a)
	default:
		return got.failure(a)
	}
}

// recognise says whether the account that the target has of a's username is a.
func (h *HTTP) recognise(ctx context.Context, a accounts.Account) error {
	path, escaped := accountPath(a.Username)
	got, err := h.send(ctx, http.MethodGet, path, escaped, "", nil)
	if err != nil {
		return err
	}
	if got.status == http.StatusNotFound {
		return fmt.Errorf("%s, after a conflict over it: it has just been deleted", got.line)
	}
	if err := got.failure(a); err != nil {
		return err
	}
	var there struct {
		Role string `json:"role"`
	}
	if json.Unmarshal(got.body, &there) != nil || there.Role != a.Role {
		return fmt.Errorf("%w: its role is not %s", ErrTaken, a.Role)
	}
	got, err = h.send(ctx, http.MethodPost, "/login", "/login", "", map[string]string{
		"username": a.Username, "password": a.Password.Reveal(),
	})
	switch {
	case err != nil:
		return err
	case got.status == http.StatusUnauthorized:
		return fmt.Errorf("%w: it has another password", ErrTaken)
	default:
		return got.failure(a)
	}
}

// Delete implements Source.
func (h *HTTP) Delete(ctx context.Context, a accounts.Account) error {
	path, escaped := accountPath(a.Username)
	got, err := h.send(ctx, http.MethodDelete, path, escaped, "", nil)
	switch {
	case err != nil:
		return err
	case got.status == http.StatusNotFound:
		return nil
	default:
		return got.failure(a)
	}
}

// accountPath returns the path of an account, plain and escaped. Names of dots
// alone are escaped too, or they would be taken as steps in the path.
func accountPath(username string) (path, escaped string) {
	escaped = url.PathEscape(username)
	if strings.Trim(username, ".") == "" {
		escaped = strings.ReplaceAll(username, ".", "%2E")
	}
	return "/accounts/" + username, "/accounts/" + escaped
}

// answer is what a request was answered with.
type answer struct {
	status int
	line   string // the request and the status, as it is shown
	body   []byte // up to maxAnswer of it
}

// send makes one request. Its error means that there was no answer.
func (h *HTTP) send(ctx context.Context, method, path, escaped, key string, content any) (answer, error) {
	u := *h.base
	u.Path += path
	u.RawPath += escaped
	var body io.Reader
	if content != nil {
		text, err := json.Marshal(content)
		if err != nil { // a map or struct of strings cannot fail
			return answer{}, fmt.Errorf("%w: encode the request", ErrRefused)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if content != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		// Only one account ever has a username, so it also names the request.
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := h.user.Do(r)
	var forbidden *dial.NotAllowedError
	switch {
	case errors.As(err, &forbidden):
		return answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: read the answer: %w", method, u.Redacted(), err)
	}
	return answer{
		status: response.StatusCode,
		line:   fmt.Sprintf("%s %s answered %d %s", method, u.Redacted(), response.StatusCode, http.StatusText(response.StatusCode)),
		body:   text,
	}, nil
}

// failure returns nil for a success. 429 and 5xx may pass; all else is final.
func (got answer) failure(a accounts.Account) error {
	text := got.line + got.reason(a)
	switch {
	case got.status >= 200 && got.status <= 299:
		return nil
	case got.status == http.StatusTooManyRequests, got.status >= 500:
		return errors.New(text)
	default:
		return fmt.Errorf("%w: %s", ErrRefused, text)
	}
}

// reason returns what a JSON answer {"error": "..."} says, as one short line.
// Any other text is left out, and so is the password if it is quoted.
func (got answer) reason(a accounts.Account) string {
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(got.body, &said) != nil || said.Error == "" {
		return ""
	}
	text := oneLine(said.Error)
	if secret := oneLine(a.Password.Reveal()); secret != "" {
		text = strings.ReplaceAll(text, secret, a.Password.String())
	}
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason]) + "..."
	}
	return ": " + text
}

// oneLine puts a space for every character that does not print.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
