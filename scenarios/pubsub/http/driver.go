// Package httpdriver speaks publish/subscribe over HTTP: one request to log in,
// one to publish, and long polls with a cursor to subscribe. It serves the
// schemes http+poll and https+poll. Its requests are those of the built-in
// target:
//
//	POST /login                          {username,password} -> {token}
//	POST /channels/{channel}/events      body = event
//	GET  /channels/{channel}/events      -> {position}, the present end of the channel
//	GET  /channels/{channel}/events?after=P&wait=25s
//	                                     -> {position, events:[{position,data}]}
//
// What the driver reports is exactly what it asked of the target: no request
// that may have reached the target is repeated behind the caller's back, and no
// redirect is followed. Operations in a summary therefore equal the target's
// own counters.
//
// It knows nothing of scenarios, pools, statistics or Redis. Of package dial it
// knows only the errors, to name them.
package httpdriver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

const (
	// requestTimeout bounds a request whose context has no deadline.
	requestTimeout = 30 * time.Second
	// pollWait is how long the target may keep a poll open without an event.
	pollWait = 25 * time.Second

	// After a failed poll the next one waits, from the first to the second,
	// doubling, each with up to a quarter more or less so that users whom one
	// failure hit do not come back at one moment.
	retryDelay    = 100 * time.Millisecond
	maxRetryDelay = 10 * time.Second
	retryJitter   = 0.25

	// A user publishes and polls at the same time and may publish from several
	// places at once; more connections than this are not kept when idle.
	maxIdleConns = 16
	// Idle users are many and requests are small: net/http's 4 KiB each way
	// would be a third of a connection's memory. A request that fits leaves in
	// one write.
	bufferSize = 1 << 10
	// maxHeaderBytes bounds the headers of an answer.
	maxHeaderBytes = 64 << 10
)

// driver is immutable, so all users of a process share it.
type driver struct {
	base      url.URL // http or https, no trailing slash
	protocols http.Protocols
	retries   failsafe.Policy[any]
}

// New returns the driver for a target such as http+poll://127.0.0.1:9090. A
// path becomes the prefix of every request's path. The error says all that is
// wrong with the URL, without repeating what may be secret in it.
func New(target *url.URL) (pubsub.Driver, error) {
	base, err := baseOf(target)
	if err != nil {
		return nil, fmt.Errorf("http driver: %w", err)
	}
	d := &driver{base: base}
	d.protocols.SetHTTP1(true)
	d.retries = retrypolicy.NewBuilder[any]().
		WithBackoff(retryDelay, maxRetryDelay).
		WithJitterFactor(retryJitter).
		WithMaxRetries(-1).
		Build()
	return d, nil
}

// baseOf checks the target's URL and returns what every request's URL starts from.
func baseOf(target *url.URL) (url.URL, error) {
	var errs []error
	scheme, form, _ := strings.Cut(target.Scheme, "+")
	switch {
	case scheme != "http" && scheme != "https", form != "poll" && form != "sse" && form != "ws":
		errs = append(errs, fmt.Errorf("scheme %q is unknown; use http+poll or https+poll", target.Scheme))
	case form != "poll":
		errs = append(errs, fmt.Errorf("scheme %q is not available yet; use %s+poll", target.Scheme, scheme))
	}
	if target.Hostname() == "" {
		errs = append(errs, errors.New("the target's URL has no host"))
	}
	if target.User != nil {
		errs = append(errs, errors.New("the target's URL holds credentials; users log in with leased accounts"))
	}
	if target.RawQuery != "" || target.Fragment != "" {
		errs = append(errs, errors.New("the target's URL holds a query or a fragment"))
	}
	return url.URL{
		Scheme:  scheme,
		Host:    target.Host,
		Path:    strings.TrimRight(target.Path, "/"),
		RawPath: strings.TrimRight(target.EscapedPath(), "/"),
	}, errors.Join(errs...)
}

// Connect logs the account in. It is one request, over the first of the user's
// network connections.
func (d *driver) Connect(ctx context.Context, account accounts.Leased, dialer pubsub.Dialer) (pubsub.Conn, error) {
	c := newConn(d, dialer, account.Token)
	if err := c.logIn(ctx, account); err != nil {
		c.Close() // always nil
		return nil, err
	}
	return c, nil
}

// loginURL returns the URL that accounts log in at.
func (d *driver) loginURL() *url.URL {
	u := d.base
	u.Path += "/login"
	u.RawPath += "/login"
	return &u
}

// eventsURL returns the URL of a channel's events. Slashes in the name are
// escaped: a channel is one segment of the path. Names of dots alone are
// escaped too, or they would be taken as steps in the path.
func (d *driver) eventsURL(channel string) (*url.URL, error) {
	escaped := url.PathEscape(channel)
	switch channel {
	case "":
		return nil, errNoChannel
	case ".", "..":
		escaped = strings.ReplaceAll(channel, ".", "%2E")
	}
	u := d.base
	u.Path += "/channels/" + channel + "/events"
	u.RawPath += "/channels/" + escaped + "/events"
	return &u, nil
}
