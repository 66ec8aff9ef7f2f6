package httpdriver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// Limits of what is read of an answer.
const (
	maxAnswer = 64 << 10 // of a log-in, and of what is drained so that a connection can be kept
	maxPage   = 64 << 20 // of a poll: 1000 events of the size the target takes, within reason
)

// conn is one user's connection: an HTTP transport of its own, whose network
// connections nobody shares.
type conn struct {
	driver    *driver
	transport *http.Transport
	// header goes with every request. Requests share it, so it does not change
	// once the account is logged in.
	header http.Header

	// mu guards what is under way: the way to cancel each request and each
	// subscription, so that Close can end them. Once closed is set nothing is
	// added to it; running counts what has not ended.
	mu       sync.Mutex
	closed   bool
	number   uint64
	underWay map[uint64]context.CancelFunc
	running  sync.WaitGroup
}

func newConn(d *driver, dialer pubsub.Dialer, token int64) *conn {
	return &conn{
		driver: d,
		transport: &http.Transport{
			DialContext:            dialer.DialContext,
			Protocols:              &d.protocols,
			TLSHandshakeTimeout:    requestTimeout,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    maxIdleConns,
			MaxResponseHeaderBytes: maxHeaderBytes,
			ReadBufferSize:         bufferSize,
			WriteBufferSize:        bufferSize,
		},
		header: http.Header{
			"Content-Type":   {"application/json"},
			"User-Agent":     {"throng"},
			"X-Throng-Lease": {strconv.FormatInt(token, 10)},
		},
		underWay: make(map[uint64]context.CancelFunc),
	}
}

// logIn fetches the token that all further requests carry.
func (c *conn) logIn(ctx context.Context, account accounts.Leased) error {
	credentials, err := json.Marshal(map[string]string{
		"username": account.Username,
		"password": account.Password.Reveal(),
	})
	if err != nil {
		return &failure{text: "log-in not encodable", cause: err} // a map of strings always is
	}
	ctx, end, err := c.begin(ctx, requestTimeout)
	if err != nil {
		return err
	}
	defer end()

	var answer bytes.Buffer
	if err := c.do(ctx, http.MethodPost, c.driver.loginURL(), credentials, &answer, maxAnswer); err != nil {
		return refusal(err)
	}
	var session struct{ Token string }
	if err := json.Unmarshal(answer.Bytes(), &session); err != nil || session.Token == "" {
		return errNoToken
	}
	c.header.Set("Authorization", "Bearer "+session.Token)
	return nil
}

// refusal tells a log-in that was refused because of the account from one that
// failed.
func refusal(err error) error {
	var f *failure
	if errors.As(err, &f) && (f.status == http.StatusUnauthorized || f.status == http.StatusForbidden) {
		return statusFailure(f.status, pubsub.ErrAccountRefused)
	}
	return err
}

// Publish is one POST. It is never repeated once a byte of it has left.
func (c *conn) Publish(ctx context.Context, channel string, payload []byte) error {
	events, err := c.driver.eventsURL(channel)
	if err != nil {
		return err
	}
	ctx, end, err := c.begin(ctx, requestTimeout)
	if err != nil {
		return err
	}
	defer end()
	// The transport may still read the body after it has answered, while the
	// caller's payload is the caller's again when Publish returns.
	return c.do(ctx, http.MethodPost, events, bytes.Clone(payload), nil, maxAnswer)
}

// Subscribe asks for the present end of the channel and follows it from there.
// Its first request is the caller's operation; only the long polls after it are
// reported to handler.Attempt.
func (c *conn) Subscribe(ctx context.Context, channel string, handler pubsub.Handler) (pubsub.Subscription, error) {
	events, err := c.driver.eventsURL(channel)
	if err != nil {
		return nil, err
	}
	s := &subscription{conn: c, events: events, handler: handler, done: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	// From here on the subscription's life is its own; the values of the
	// context, such as a trace, stay.
	ctx, end, err := c.begin(context.WithoutCancel(ctx), 0)
	if err != nil {
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go func() {
		defer end()
		defer close(s.done)
		s.follow(ctx)
	}()
	return s, nil
}

// Close ends everything under way, waits for it and closes the network
// connections. It returns nil.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	cancels := slices.Collect(maps.Values(c.underWay))
	c.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
	c.running.Wait()
	c.transport.CloseIdleConnections()
	return nil
}

// begin enters something into what is under way. Its context ends with ctx, with
// Close, and after timeout if that is not 0 and ctx has no deadline. The caller
// calls end when it is over.
func (c *conn) begin(ctx context.Context, timeout time.Duration) (_ context.Context, end func(), _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, errClosed
	}
	var cancel context.CancelFunc
	if _, bounded := ctx.Deadline(); bounded || timeout == 0 {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	c.number++
	number := c.number
	c.underWay[number] = cancel
	c.running.Add(1)
	return ctx, func() {
		cancel()
		c.mu.Lock()
		delete(c.underWay, number)
		c.mu.Unlock()
		c.running.Done()
	}, nil
}

// do makes one request and reads its answer, up to limit bytes, into answer; nil
// drops the answer. Every error is a *failure.
func (c *conn) do(ctx context.Context, method string, u *url.URL, body []byte, answer *bytes.Buffer, limit int64) error {
	req := c.request(ctx, method, u, body)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return classify(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		drain(resp)
		return statusFailure(resp.StatusCode, nil)
	}
	if answer == nil {
		// The status is the acknowledgement: what may go wrong with the rest
		// takes nothing back.
		drain(resp)
		return nil
	}
	n, err := answer.ReadFrom(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return classify(ctx, err)
	case n > limit:
		return errTooLarge
	}
	return nil
}

// request builds a request that net/http repeats only as long as no byte of it
// was written. It never repeats a POST without an idempotency key otherwise;
// GETs it repeats freely unless they have a body that it cannot rewind, so they
// get an empty one, of which nothing is sent.
func (c *conn) request(ctx context.Context, method string, u *url.URL, body []byte) *http.Request {
	req := (&http.Request{
		Method: method,
		URL:    u,
		Header: c.header,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if method == http.MethodGet {
		req.Body = emptyBody{}
		return req
	}
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	return req
}

// drain reads what remains of an answer, so that the connection can be kept;
// beyond the limit it is cheaper to close it.
func drain(resp *http.Response) {
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
}

// emptyBody is the body of a request that has none and must not be repeated.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }
