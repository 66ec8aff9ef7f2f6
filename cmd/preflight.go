package cmd

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
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
	address := hostPort(u)
	allow := dial.NewAllow(spec.Safety.Allow)
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := allow.CheckHost(ctx, address); err != nil {
		return err
	}
	dialer := dial.New(allow, nil)
	defer dialer.Close()
	if _, err := dialer.DialContext(ctx, "tcp", address); err != nil {
		return startError("the target %s does not answer: %w", spec.Target, err)
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
func openPool(ctx context.Context, client redis.UniversalClient, spec *scenarios.Spec, pool poolFlags, log *zap.Logger) (*accounts.Pool, error) {
	return accounts.Create(ctx, accounts.Config{Redis: client, Name: spec.Accounts.Pool, Log: log}, accounts.Settings{
		LeaseTTL: time.Duration(pool.leaseTTL), LockDelay: time.Duration(pool.lockDelay),
	})
}

// newProvisioner returns what creates and deletes the pool's accounts in the
// target, and a function that closes its connections.
func newProvisioner(pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger, progress func(done, total int)) (*provision.Provisioner, func(), error) {
	source := spec.Accounts.Provision.HTTP
	if source == nil {
		return nil, nil, usageError("accounts.provision names no source: accounts cannot be created")
	}
	base, err := provisionURL(spec)
	if err != nil {
		return nil, nil, err
	}
	dialer := dial.New(dial.NewAllow(spec.Safety.Allow), nil)
	transport := &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: source.Concurrency, MaxConnsPerHost: source.Concurrency,
		IdleConnTimeout: time.Minute,
	}
	p := provision.New(pool, provision.NewHTTP(base, &http.Client{Transport: transport, Timeout: 30 * time.Second}), provision.Config{
		Rate: float64(source.Rate), Concurrency: source.Concurrency, Log: log, Progress: progress,
	})
	return p, func() {
		transport.CloseIdleConnections()
		_ = dialer.Close() // whatever is left is of no more use
	}, nil
}

// provisionURL is where the account API is: the target's own HTTP address
// unless the spec says otherwise.
func provisionURL(spec *scenarios.Spec) (*url.URL, error) {
	text := spec.Accounts.Provision.HTTP.URL
	if text == "" {
		u, err := url.Parse(spec.Target)
		if err != nil {
			return nil, usageError("target: %w", err)
		}
		scheme := "http"
		if u.Scheme == "https+poll" {
			scheme = "https"
		}
		return &url.URL{Scheme: scheme, Host: u.Host, Path: u.Path}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, usageError("accounts.provision.http.url: %w", err)
	}
	return u, nil
}
