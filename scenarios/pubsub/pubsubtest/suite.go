// Package pubsubtest is the suite that every driver passes: what the interfaces
// of package pubsub promise, as tests. A driver's own tests call Run with a
// target to speak to, and add what is particular to the protocol.
//
// It knows no protocol and no driver.
package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// patience bounds each wait; only a broken driver reaches it.
const patience = 15 * time.Second

// Target is a running target with the driver under test.
type Target struct {
	Driver pubsub.Driver
	// Account returns an account that can log in, with a fencing token. Each
	// call returns another one. It may be called from any goroutine.
	Account func() accounts.Leased
	// TokenSeen says whether the target was told this fencing token. Nil if
	// the protocol has no place for it.
	TokenSeen func(token int64) bool
}

// Run checks a driver against everything that package pubsub promises. Open is
// called for each part and returns a target of its own, which it closes with
// t.Cleanup. The parts run in parallel.
func Run(t *testing.T, open func(t *testing.T) Target) {
	parts := []struct {
		name string
		run  func(s *suite)
	}{
		{"good credentials are taken", goodCredentials},
		{"wrong credentials are the account's fault", wrongCredentials},
		{"everything goes through the dialer", throughTheDialer},
		{"the context of Connect bounds Connect alone", contextOfConnect},
		{"messages arrive completely and in order", completeAndInOrder},
		{"every subscriber gets every message", everySubscriber},
		{"many publish at once", manyAtOnce},
		{"a subscription starts from now", fromNow},
		{"channels are apart", channelsApart},
		{"a broken subscription goes on where it broke", goesOn},
		{"the context of Publish ends it", contextOfPublish},
		{"the context of Subscribe bounds Subscribe alone", contextOfSubscribe},
		{"a closed subscription is silent", closedSubscription},
		{"a closed connection is silent and gone", closedConnection},
		{"closing waits for the handler", closingWaits},
		{"closing ends what is under way", closingEnds},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.run(&suite{T: t, Target: open(t)})
		})
	}
}

// suite is one part of the suite under way.
type suite struct {
	*testing.T
	Target
	channels atomic.Int64
}

// channel returns a name that this part has not used yet.
func (s *suite) channel() string {
	return fmt.Sprintf("suite/%d/progress", s.channels.Add(1))
}

// context returns one that ends the part before the test binary's own timeout.
func (s *suite) context() context.Context {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

// connect logs a new account in.
func (s *suite) connect() (pubsub.Conn, *dialer) {
	s.Helper()
	d := &dialer{}
	c, err := s.Driver.Connect(s.context(), s.Account(), d)
	if err != nil {
		s.Fatalf("Connect = %v", err)
	}
	s.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.Errorf("Close = %v", err)
		}
	})
	return c, d
}

// subscribe listens to a channel into a new inbox.
func (s *suite) subscribe(c pubsub.Conn, channel string) (*inbox, pubsub.Subscription) {
	s.Helper()
	in := newInbox(s.T)
	sub, err := c.Subscribe(s.context(), channel, in.handler())
	if err != nil {
		s.Fatalf("Subscribe(%s) = %v", channel, err)
	}
	return in, sub
}

// publisher sends numbered messages. It reuses its buffer for all of them and
// spoils it in between, as callers may.
type publisher struct {
	s       *suite
	conn    pubsub.Conn
	name    string
	channel string
	last    int64
	buffer  []byte
}

func (s *suite) publisher(c pubsub.Conn, name, channel string) *publisher {
	return &publisher{s: s, conn: c, name: name, channel: channel}
}

// send publishes the next n messages.
func (p *publisher) send(n int) {
	p.s.Helper()
	for range n {
		p.last++
		p.buffer = message(p.s.T, p.buffer[:0], p.name, p.channel, p.last)
		if err := p.conn.Publish(p.s.context(), p.channel, p.buffer); err != nil {
			p.s.Errorf("Publish of %s %d = %v", p.name, p.last, err)
			return
		}
		for i := range p.buffer {
			p.buffer[i] = '!'
		}
	}
}

// eventually waits for a condition that nothing signals.
func (s *suite) eventually(what string, holds func() bool) {
	s.Helper()
	ctx := s.context()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatalf("waited in vain: %s", what)
		}
	}
}

// short checks that an error is fit to be counted: one line that groups, which
// names nobody.
func (s *suite) short(err error, account accounts.Leased) {
	s.Helper()
	text := err.Error()
	for what, secret := range map[string]string{
		"the username": account.Username, "the password": account.Password.Reveal(), "an address": "127.0.0.1",
	} {
		if strings.Contains(text, secret) {
			s.Errorf("error %q holds %s", text, what)
		}
	}
	if strings.Contains(text, "\n") || len(text) > 60 {
		s.Errorf("error %q is not short", text)
	}
}

// errDenied is what a denying dialer answers.
var errDenied = errors.New("denied by the test")
