package httpdriver_test

import (
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/scenarios/pubsub/pubsubtest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, func(t *testing.T) pubsubtest.Target {
		s := newService(t, target.Config{Seed: 1})
		return pubsubtest.Target{
			Driver:    s.driver,
			Account:   func() accounts.Leased { return s.account(t) },
			TokenSeen: s.tokenSeen,
		}
	})
}
