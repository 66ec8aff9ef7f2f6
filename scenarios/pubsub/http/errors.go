package httpdriver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/throng-load/throng/internal/dial"
)

// failure is an error as it is counted: a short text from a small set, the same
// for all users, so that equal failures group together. The causes stay
// reachable through errors.Is and errors.As; they may name addresses and never
// show in the text.
type failure struct {
	text   string
	status int // of the target's answer; 0 if there was none
	cause  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// Failures that need no cause.
var (
	errNoChannel = &failure{text: "empty channel name"}
	errTooLarge  = &failure{text: "answer too large"}
	errNoToken   = &failure{text: "invalid answer: no token"}
	errNoCursor  = &failure{text: "invalid answer: no position"}
	errClosed    = &failure{text: "connection closed", cause: net.ErrClosed}
)

// statusFailure is the failure of an answer that is not a success. The text is
// the standard one: what the target writes in its place may hold anything.
func statusFailure(code int, cause error) *failure {
	text := strconv.Itoa(code)
	if standard := http.StatusText(code); standard != "" {
		text += " " + standard
	}
	return &failure{text: text, status: code, cause: cause}
}

// classify turns an error of a request made under ctx into a *failure. The end
// of the context comes first: what a cancelled request reports beyond that is
// only how it broke off.
func classify(ctx context.Context, err error) error {
	var known *failure
	if errors.As(err, &known) {
		return known
	}
	if ended := ctx.Err(); ended != nil {
		text := "cancelled"
		if errors.Is(ended, context.DeadlineExceeded) {
			text = "timeout"
		}
		return &failure{text: text, cause: errors.Join(ended, context.Cause(ctx), err)}
	}
	return &failure{text: textOf(err), cause: err}
}

// textOf names what broke, without any particulars.
func textOf(err error) string {
	var (
		refused     *dial.NotAllowedError
		timeout     net.Error
		resolving   *net.DNSError
		certificate *tls.CertificateVerificationError
		handshake   tls.RecordHeaderError
		alert       tls.AlertError
		errno       syscall.Errno
	)
	switch {
	case errors.As(err, &refused):
		return "address not in safety.allow"
	case errors.Is(err, dial.ErrFenced):
		return "lease ran out"
	case errors.Is(err, dial.ErrClosed), errors.Is(err, net.ErrClosed):
		return errClosed.text
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &resolving) && resolving.IsNotFound:
		return "host not found"
	case errors.As(err, &resolving):
		return "name resolution failed"
	case errors.As(err, &certificate):
		return "certificate not trusted"
	case errors.As(err, &handshake), errors.As(err, &alert):
		return "TLS handshake failed"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.As(err, &errno):
		return errno.Error() // "connection refused", "too many open files", ...
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), closedWhileIdle(err):
		return "EOF"
	}
	return "request failed"
}

// closedWhileIdle recognises that the target closed a kept connection while a
// request was on its way; net/http has no exported error for it.
func closedWhileIdle(err error) bool {
	return strings.Contains(err.Error(), "server closed idle connection")
}
