package cmd

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/scenarios"
)

const reachTimeout = 3 * time.Second

// checkTarget makes sure, before anything is set in motion, that the target
// may be sent load and that something listens there.
func checkTarget(ctx context.Context, spec *scenarios.Spec) error {
	u, err := url.Parse(spec.Target)
	if err != nil {
		return usageError("target: %w", err)
	}
	return reach(ctx, spec.Safety.Allow, hostPort(u), "the target "+spec.Target)
}

// reach makes sure that an address is allowed and that something listens there.
// What says for people what that is.
func reach(ctx context.Context, allowed []netip.Prefix, address, what string) error {
	allow := dial.NewAllow(allowed)
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := allow.CheckHost(ctx, address); err != nil {
		return err
	}
	dialer := dial.New(allow, nil)
	defer dialer.Close()
	if _, err := dialer.DialContext(ctx, "tcp", address); err != nil {
		return startError("%s does not answer: %w", what, err)
	}
	return nil
}

// hostPort is where to connect to for a URL, with the port of its scheme.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := "80"
	if u.Scheme == "https" || u.Scheme == "https+poll" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// openPool makes the spec's pool in Redis, or opens it if it is there.
func openPool(ctx context.Context, e env, client redis.UniversalClient, spec *scenarios.Spec, pool poolFlags, log *zap.Logger) (*accounts.Pool, error) {
	keys, err := accountKeys(e)
	if err != nil {
		return nil, err
	}
	return accounts.Create(ctx, accounts.Config{Redis: client, Name: spec.Accounts.Pool, Keys: keys, Log: log}, poolSettings(spec, pool))
}

// poolSettings are the settings that a pool is made with; spec may be nil.
func poolSettings(spec *scenarios.Spec, pool poolFlags) accounts.Settings {
	settings := accounts.Settings{LeaseTTL: time.Duration(pool.leaseTTL), LockDelay: time.Duration(pool.lockDelay)}
	if spec != nil {
		settings.Rest, settings.MaxUses = time.Duration(spec.Accounts.Rest), spec.Accounts.MaxUses
		settings.MaxAge, settings.ReplicaLag = time.Duration(spec.Accounts.MaxAge), time.Duration(spec.Accounts.ReplicaLag)
	}
	return settings
}
