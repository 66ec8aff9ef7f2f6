package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/exchange"
)

// HTTPConfig says where an account API is and how it is spoken to. Dial and URL
// are needed.
type HTTPConfig struct {
	// URL is where the API is: http or https, without a query, and with the
	// path, if any, that comes before that of every request. In it and in the
	// headers, ${NAME} is replaced by what Lookup says of NAME.
	URL string
	// FallbackURL is where a request is made instead when it fails at URL
	// exactly as FallbackOn says; both or none are given.
	FallbackURL string
	FallbackOn  exchange.Failure
	// API has the requests. Without any it is the built-in target's API, with
	// API.Headers on top.
	API exchange.API
	// Concurrency is how many calls will be under way at a time, and so how
	// many idle connections are worth keeping; 50 when zero.
	Concurrency int
	// Dial opens all connections: it decides where traffic may go.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Lookup returns an environment variable. Nil is an empty environment.
	Lookup func(name string) (string, bool)
}

const (
	defaultConcurrency = 50
	idleTimeout        = time.Minute
	// fallbackAfter bounds how long a connection may take to come about when
	// there is somewhere else to go: less than one attempt may take.
	fallbackAfter = 3 * time.Second
)

// httpSource is a Source that speaks an account API over HTTP.
type httpSource struct {
	calls exchange.Calls
	first endpoint
	// second is where to go when first fails as failover says; nil if there
	// is no such place.
	second   *endpoint
	failover exchange.Failure
	client   http.Client
	close    func()
	// secrets are what the environment put into headers and URLs.
	secrets []string
}

// endpoint is one place where the API is.
type endpoint struct {
	base  string // as it is called; without a trailing slash
	shown string // as it is configured, without a password
}

// NewHTTP returns a Source for the account API that cfg describes. It is a
// Counter too if the API has a count request, and an io.Closer that closes idle
// connections. Redirects are not followed: an account's password goes nowhere
// that is not configured.
//
// The error has one line for every mistake, such as an environment variable
// that is missing. Errors of the Source name the request, the status and what
// the API says at the place that is configured for it, in one short line
// without passwords, tokens and what the environment put into headers. One that
// wraps a *BusyError says when to ask again.
func NewHTTP(cfg HTTPConfig) (Source, error) {
	if cfg.Dial == nil {
		return nil, errors.New("account API: there is no Dial")
	}
	api := cfg.API
	if api.IsZero() {
		api = builtIn(api.Headers)
	}
	h := &httpSource{failover: cfg.FallbackOn}
	calls, mistakes := api.Parse()
	problems := make([]error, 0, len(mistakes))
	for _, m := range mistakes {
		problems = append(problems, fmt.Errorf("account API: %w", m))
	}
	problems = append(problems, h.locate(cfg))
	if len(mistakes) == 0 {
		var err error
		if h.calls, err = calls.Expand(h.remember(cfg.Lookup)); err != nil {
			problems = append(problems, fmt.Errorf("account API: %w", err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	h.connect(cfg)
	if h.calls.Count != nil {
		return countingSource{h}, nil
	}
	return h, nil
}

// locate reads where the API is.
func (h *httpSource) locate(cfg HTTPConfig) error {
	var err, fallbackErr error
	h.first, err = newEndpoint("url", cfg.URL, h.remember(cfg.Lookup))
	switch {
	case (cfg.FallbackURL != "") != (cfg.FallbackOn != 0):
		fallbackErr = errors.New("account API: fallback_url and fallback_on need each other")
	case cfg.FallbackURL != "":
		h.second = new(endpoint)
		*h.second, fallbackErr = newEndpoint("fallback_url", cfg.FallbackURL, h.remember(cfg.Lookup))
	}
	return errors.Join(err, fallbackErr)
}

// newEndpoint reads a URL. Its error does not repeat it: it may have a password.
func newEndpoint(key, text string, lookup func(string) (string, bool)) (endpoint, error) {
	expanded, err := exchange.Expand(text, lookup)
	if err != nil {
		return endpoint{}, fmt.Errorf("account API: %s: %w", key, err)
	}
	u, err := url.Parse(expanded)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, fmt.Errorf("account API: %s: is not a URL such as http://127.0.0.1:9090, without ? and #", key)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	e := endpoint{base: u.String(), shown: u.Redacted()}
	if exchange.HasVariable(text) { // a variable may be a secret anywhere
		e.shown = strings.TrimRight(text, "/")
	}
	return e, nil
}

// remember returns a lookup that keeps what it finds, to be hidden in errors.
// What is shorter than that is no secret, and would hide half of a text.
func (h *httpSource) remember(lookup func(string) (string, bool)) func(string) (string, bool) {
	const shortest = 4
	return func(name string) (string, bool) {
		if lookup == nil {
			return "", false
		}
		value, ok := lookup(name)
		if len(value) >= shortest && !slices.Contains(h.secrets, value) {
			h.secrets = append(h.secrets, value)
		}
		return value, ok
	}
}

// connect prepares the client.
func (h *httpSource) connect(cfg HTTPConfig) {
	if cfg.Concurrency < 1 {
		cfg.Concurrency = defaultConcurrency
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if h.second != nil {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, fallbackAfter)
				defer cancel()
			}
			conn, err := cfg.Dial(ctx, network, address)
			var forbidden *dial.NotAllowedError
			if err != nil && !errors.As(err, &forbidden) {
				return nil, &unreachableError{err}
			}
			return conn, err
		},
		MaxIdleConnsPerHost: cfg.Concurrency,
		IdleConnTimeout:     idleTimeout,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	h.close = transport.CloseIdleConnections
	h.client = http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close closes idle connections. The Source can still be used.
func (h *httpSource) Close() error {
	h.close()
	return nil
}

// fieldsOf is an account as the templates see it.
func fieldsOf(a accounts.Account) exchange.Fields {
	f := exchange.Fields{
		Username: a.Username, Password: a.Password.Reveal(), Role: a.Role,
		TargetID: a.TargetID, Key: a.Key, Attributes: a.Attributes,
	}
	if f.Key == "" { // only one account ever has a username
		f.Key = a.Username
	}
	return f
}

// builtIn is the API of the built-in target.
func builtIn(headers map[string]string) exchange.API {
	return exchange.API{
		Headers: headers,
		Create: &exchange.Request{
			Path:    "/accounts",
			Headers: map[string]string{"Idempotency-Key": "{{.Key}}"},
			Body: `{"username":{{json .Username}},"password":{{json .Password}},"role":{{json .Role}}` +
				`{{if .Attributes}},"attributes":{{json .Attributes}}{{end}}}`,
			Error: "error",
		},
		Verify: &exchange.Request{Path: "/accounts/{{path .Username}}", Error: "error"},
		Login: &exchange.Request{
			Path: "/login", Body: `{"username":{{json .Username}},"password":{{json .Password}}}`,
			Token: "token", Error: "error",
		},
		Delete: &exchange.Request{Path: "/accounts/{{path .Username}}", Error: "error"},
		Count:  &exchange.Request{Path: "/admin/counters", Value: "accounts", Error: "error"},
	}
}
