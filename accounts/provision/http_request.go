package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/fallback"

	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/exchange"
)

const (
	// maxAnswer bounds how much of an answer is read. In bytes.
	maxAnswer = 256 << 10
	// maxReason bounds what is shown of an answer. In characters.
	maxReason = 200
	// maxBusy bounds how long a target is left alone because it says so.
	maxBusy = time.Minute
)

// BusyError is a failure that may pass, of a target which says when.
type BusyError struct {
	// After is how long the target asks to be left alone, above 0 and at most
	// a minute.
	After time.Duration
	text  string
}

// Error says what was asked and what the target answered.
func (e *BusyError) Error() string { return e.text }

// unreachableError is that no connection came about: nothing was sent.
type unreachableError struct{ cause error }

func (e *unreachableError) Error() string { return e.cause.Error() }
func (e *unreachableError) Unwrap() error { return e.cause }

// unansweredError is a request without an answer. Its text may be shown, other
// than that of the errors behind it.
type unansweredError struct {
	text  string
	cause error
}

func (e *unansweredError) Error() string { return e.text }
func (e *unansweredError) Unwrap() error { return e.cause }

// request is a call whose texts are filled.
type request struct {
	call    *exchange.Call
	path    string
	shown   string // the path without secrets
	headers http.Header
	body    string
	hide    mask
}

// answer is what a request was answered with.
type answer struct {
	call   *exchange.Call
	status int
	line   string // the request and the status, as they are shown
	body   []byte // up to maxAnswer of it
	after  time.Duration
	hide   mask
}

// ask makes one request; if it fails as the configuration says, it is made once
// more at the fallback, whose outcome then counts. An error means that there
// was no answer.
func (h *httpSource) ask(ctx context.Context, call *exchange.Call, f exchange.Fields) (answer, error) {
	r, err := h.fill(call, f)
	if err != nil {
		return answer{}, lasting(call, err)
	}
	if h.second == nil {
		return h.send(ctx, h.first, r)
	}
	elsewhere := fallback.NewBuilderWithFunc(func(failsafe.Execution[answer]) (answer, error) {
		return h.send(ctx, *h.second, r)
	}).HandleIf(func(got answer, err error) bool { return ctx.Err() == nil && h.failsOver(got, err) }).Build()
	return failsafe.With[answer](elsewhere).Get(func() (answer, error) { return h.send(ctx, h.first, r) })
}

// failsOver says whether a request failed exactly as it is configured. One that
// may have been sent is not unreachable, whatever became of it.
func (h *httpSource) failsOver(got answer, err error) bool {
	if h.failover == exchange.Unreachable {
		var unreachable *unreachableError
		return errors.As(err, &unreachable)
	}
	return err == nil && got.status == int(h.failover)
}

// lasting makes err one that repeating does not mend, where that says nothing bad
// about the account: of verify and login it would.
func lasting(call *exchange.Call, err error) error {
	if call.Name == "create" || call.Name == "delete" {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// fill fills the texts of a call.
func (h *httpSource) fill(call *exchange.Call, f exchange.Fields) (request, error) {
	r := request{call: call, headers: make(http.Header), hide: newMask(append(h.secrets[:len(h.secrets):len(h.secrets)], f.Password, f.Token)...)}
	if f.TargetID == "" && call.Uses(exchange.TargetID) {
		return r, fmt.Errorf("%s needs the target's id of the account, which is not known", call.Name)
	}
	fail := func(what string, err error) (request, error) {
		return r, fmt.Errorf("%s.%s: %s", call.Name, what, r.hide.line(err.Error()))
	}
	var err error
	if r.path, err = call.Path.Fill(f); err != nil {
		return fail("path", err)
	}
	safe := f
	safe.Password, safe.Token = redacted, redacted
	if r.shown, err = call.Path.Fill(safe); err != nil {
		return fail("path", err)
	}
	for _, header := range call.Headers {
		value, err := header.Value.Fill(f)
		if err == nil && strings.ContainsFunc(value, isControl) {
			err = errors.New("the value has a character that cannot be in a header")
		}
		if err != nil {
			return fail("headers."+header.Name, err)
		}
		r.headers.Set(header.Name, value)
	}
	if call.Body != nil {
		if r.body, err = call.Body.Fill(f); err != nil {
			return fail("body", err)
		}
		if r.headers.Get("Content-Type") == "" {
			r.headers.Set("Content-Type", "application/json")
		}
	}
	return r, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// send makes one request at one endpoint.
func (h *httpSource) send(ctx context.Context, e endpoint, r request) (answer, error) {
	line := r.call.Method + " " + e.shown + r.hide.line(r.shown)
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	hr, err := http.NewRequestWithContext(ctx, r.call.Method, e.base+r.path, body)
	if err != nil { // it repeats the URL
		return answer{}, lasting(r.call, fmt.Errorf("%s: that is not a URL", line))
	}
	hr.Header = r.headers.Clone()
	if host := hr.Header.Get("Host"); host != "" {
		hr.Host = host
	}
	response, err := h.client.Do(hr)
	if err != nil {
		return answer{}, unanswered(r, line, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, unanswered(r, line+": read the answer", err)
	}
	return answer{
		call:   r.call,
		status: response.StatusCode,
		line:   strings.TrimSpace(fmt.Sprintf("%s answered %d %s", line, response.StatusCode, http.StatusText(response.StatusCode))),
		body:   text,
		after:  retryAfter(response.Header.Get("Retry-After")),
		hide:   r.hide,
	}, nil
}

// unanswered words why there is no answer.
func unanswered(r request, line string, err error) error {
	var forbidden *dial.NotAllowedError
	if errors.As(err, &forbidden) {
		return lasting(r.call, forbidden)
	}
	var whole *url.Error
	if errors.As(err, &whole) { // it repeats the URL
		err = whole.Err
	}
	return &unansweredError{text: line + ": " + r.hide.line(err.Error()), cause: err}
}

// retryAfter reads how many seconds a target asks to be left alone. A date is
// taken for nothing: the two clocks may differ.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || seconds < 1 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxBusy)
}

func (got answer) meaning() exchange.Meaning { return got.call.Meaning(got.status) }

// String is what was asked and answered, in one line, with what the API says at
// the place that is configured for it.
func (got answer) String() string {
	said, found := got.call.Error.Text(got.body)
	if !found {
		return got.line
	}
	return got.line + ": " + got.hide.line(said)
}

// failure is the error of an answer that is not OK.
func (got answer) failure() error {
	switch got.meaning() {
	case exchange.Missing:
		return fmt.Errorf("%w: %s", ErrMissing, got)
	case exchange.Refused:
		return fmt.Errorf("%w: %s", ErrRefused, got)
	case exchange.Passing:
		if got.after > 0 {
			return &BusyError{After: got.after, text: got.String()}
		}
		return errors.New(got.String())
	}
	return lasting(got.call, errors.New(got.String()))
}
