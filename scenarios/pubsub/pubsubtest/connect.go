package pubsubtest

import (
	"context"
	"errors"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

func goodCredentials(s *suite) {
	account := s.Account()
	c, err := s.Driver.Connect(s.context(), account, &dialer{})
	if err != nil {
		s.Fatalf("Connect = %v", err)
	}
	if err := c.Publish(s.context(), s.channel(), message(s.T, nil, "p", "c", 1)); err != nil {
		s.Errorf("Publish = %v", err)
	}
	if s.TokenSeen != nil && !s.TokenSeen(account.Token) {
		s.Errorf("the target was not told the fencing token %d", account.Token)
	}
	if err := c.Close(); err != nil {
		s.Errorf("Close = %v", err)
	}
}

func wrongCredentials(s *suite) {
	wrongPassword := s.Account()
	wrongPassword.Password = accounts.NewSecret("not-the-password")
	unknown := s.Account()
	unknown.Username = "nobody-of-that-name"
	for _, account := range []accounts.Leased{wrongPassword, unknown} {
		d := &dialer{}
		c, err := s.Driver.Connect(s.context(), account, d)
		if err == nil {
			c.Close()
			s.Fatalf("Connect of %s with wrong credentials succeeded", account.Username)
		}
		if !errors.Is(err, pubsub.ErrAccountRefused) {
			s.Errorf("Connect = %v, want ErrAccountRefused wrapped", err)
		}
		s.short(err, account)
		s.eventually("the connection of a refused account is closed", func() bool {
			_, open := d.counts()
			return open == 0
		})
	}
}

// A driver that dials by itself would go round the fence, the allow-list and
// the byte counts. Users share nothing.
func throughTheDialer(s *suite) {
	account := s.Account()
	denying := &dialer{deny: true}
	c, err := s.Driver.Connect(s.context(), account, denying)
	if err == nil {
		c.Close()
		s.Fatal("Connect through a dialer that denies everything succeeded")
	}
	if !errors.Is(err, errDenied) {
		s.Errorf("Connect = %v, want the dialer's error wrapped", err)
	}
	if errors.Is(err, pubsub.ErrAccountRefused) {
		s.Errorf("Connect = %v: the account is not to blame", err)
	}
	s.short(err, account)
	if dials, _ := denying.counts(); dials == 0 {
		s.Error("the denying dialer was not asked")
	}
	for range 2 {
		_, d := s.connect()
		if dials, open := d.counts(); dials == 0 || open == 0 {
			s.Errorf("a connected user has dialled %d times and has %d connections of its own", dials, open)
		}
	}
}

func contextOfConnect(s *suite) {
	cancelled, cancel := context.WithCancel(s.context())
	cancel()
	if c, err := s.Driver.Connect(cancelled, s.Account(), &dialer{}); err == nil {
		c.Close()
		s.Error("Connect with a cancelled context succeeded")
	} else if !errors.Is(err, context.Canceled) {
		s.Errorf("Connect with a cancelled context = %v, want context.Canceled wrapped", err)
	}

	ctx, cancel := context.WithCancel(s.context())
	c, err := s.Driver.Connect(ctx, s.Account(), &dialer{})
	if err != nil {
		s.Fatalf("Connect = %v", err)
	}
	defer c.Close()
	cancel()
	p := s.publisher(c, "p", s.channel())
	in, _ := s.subscribe(c, p.channel)
	p.send(1)
	in.expect(p, 1, 1)
}
