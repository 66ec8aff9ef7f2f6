package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/exchange"
	"github.com/throng-load/throng/scenarios"
)

// creates says whether accounts can be created by what the spec says, so that a
// run may have more of them made.
func creates(spec *scenarios.Spec) bool {
	s := spec.Accounts.Provision
	return s.HTTP != nil || s.Postgres != nil || s.Generated != nil
}

// policyOf is how the spec's source is treated; nil for one that is called on no
// other system.
func policyOf(spec *scenarios.Spec) *scenarios.PolicySpec {
	s := &spec.Accounts.Provision
	switch {
	case s.HTTP != nil:
		return &s.HTTP.PolicySpec
	case s.Postgres != nil:
		return &s.Postgres.PolicySpec
	default:
		return nil
	}
}

// policyFlags are the policies that a command can override.
type policyFlags struct {
	rate        scenarios.Rate
	concurrency int
	retries     int
}

func (p *policyFlags) add(flags *pflag.FlagSet) {
	flags.Var(&p.rate, "rate", "accounts a second, minute or hour, of all processes together: 20/s, 1000/m (default what the file says: 1000/m)")
	flags.IntVar(&p.concurrency, "concurrency", 0, "`number` of calls under way at a time (default what the file says: 50)")
	flags.IntVar(&p.retries, "retries", 0, "`number` of times that a call which failed in passing is made again (default what the file says: 4)")
	noZero(flags, "rate")
}

// apply puts the flags that were given into the spec. It returns those that have
// no effect there, because the spec's source is called on no other system.
func (p *policyFlags) apply(cmd *cobra.Command, spec *scenarios.Spec) (ignored []string) {
	policy := policyOf(spec)
	for _, flag := range []struct {
		name string
		set  func()
	}{
		{"rate", func() { policy.Rate = p.rate }},
		{"concurrency", func() { policy.Concurrency = p.concurrency }},
		{"retries", func() { policy.Retries = p.retries }},
	} {
		switch f := cmd.Flags().Lookup(flag.name); {
		case f == nil || !f.Changed:
		case policy == nil:
			ignored = append(ignored, "--"+flag.name)
		default:
			flag.set()
		}
	}
	return ignored
}

// verbs say for people what creating and deleting accounts is with the spec's
// source: a target that accepts any account is told of none.
func verbs(spec *scenarios.Spec) (created, deleted string) {
	if spec.Accounts.Provision.Generated != nil {
		return "created in the pool only", "deleted from the pool only"
	}
	return "created in the target", "deleted from the target"
}

// newProvisioner returns what creates, verifies and deletes the pool's accounts
// in the target, and a function that closes its connections.
func newProvisioner(ctx context.Context, e env, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger, progress func(done, total int)) (*provision.Provisioner, func(), error) {
	dialer := dial.New(dial.NewAllow(spec.Safety.Allow), nil)
	source, done, err := newSource(ctx, e, spec, dialer)
	if err != nil {
		_ = dialer.Close() // whatever is left is of no more use
		return nil, nil, err
	}
	cfg := provision.Config{Max: spec.Accounts.Max, Username: string(usernameOf(spec)), Log: log, Progress: progress}
	if policy := policyOf(spec); policy != nil {
		cfg.Rate, cfg.Concurrency = float64(policy.Rate), policy.Concurrency
		cfg.Retries, cfg.Timeout = policy.Retries, time.Duration(policy.Timeout)
		if cfg.Retries == 0 {
			cfg.Retries = -1 // none, where 0 would be the default
		}
	}
	return provision.New(pool, source, cfg), func() {
		done()
		_ = dialer.Close()
	}, nil
}

func usernameOf(spec *scenarios.Spec) scenarios.UsernameSpec {
	s := spec.Accounts.Provision
	switch {
	case s.HTTP != nil:
		return s.HTTP.Username
	case s.Postgres != nil:
		return s.Postgres.Username
	case s.Generated != nil:
		return s.Generated.Username
	default:
		return ""
	}
}

// newSource returns the source that the spec names, and what closes it. All its
// connections go through the dialer.
func newSource(ctx context.Context, e env, spec *scenarios.Spec, dialer *dial.Dialer) (provision.Source, func(), error) {
	s := spec.Accounts.Provision
	nothing := func() {}
	switch {
	case s.HTTP != nil:
		base, err := accountURL(spec)
		if err != nil {
			return nil, nil, err
		}
		source, err := provision.NewHTTP(provision.HTTPConfig{
			URL: base, FallbackURL: s.HTTP.FallbackURL, FallbackOn: s.HTTP.FallbackOn, API: s.HTTP.API,
			Concurrency: s.HTTP.Concurrency, Dial: dialer.DialContext, Lookup: e.lookup,
		})
		if err != nil {
			return nil, nil, usageError("accounts.provision.http: %w", err)
		}
		return source, func() {
			if closer, ok := source.(io.Closer); ok {
				_ = closer.Close() // of idle connections
			}
		}, nil
	case s.Postgres != nil:
		c := s.Postgres.Columns
		source, err := provision.NewPostgres(ctx, provision.PostgresConfig{
			URL: s.Postgres.URL, Lookup: e.lookup, Table: s.Postgres.Table, Extra: s.Postgres.Extra,
			Columns: provision.PostgresColumns{
				ID: c.ID, Username: c.Username, Password: c.Password, Role: c.Role, Attributes: c.Attributes,
			},
			Concurrency: s.Postgres.Concurrency, Timeout: time.Duration(s.Postgres.Timeout), Dial: dialer.DialContext,
		})
		var notAllowed *dial.NotAllowedError
		switch {
		case errors.Is(err, provision.ErrRefused), errors.As(err, &notAllowed):
			return nil, nil, usageError("accounts.provision.postgres: %w", err)
		case err != nil:
			return nil, nil, startError("accounts.provision.postgres: %w", err)
		}
		return source, source.Close, nil
	case s.Generated != nil:
		return provision.Generated{}, nothing, nil
	case s.CSV != nil:
		return absentSource{"accounts.provision.csv: accounts from a file are imported, and the target cannot be asked for them"}, nothing, nil
	default:
		return absentSource{"accounts.provision names no source: the target cannot be asked for accounts"}, nothing, nil
	}
}

// absentSource stands where there is no source: a pool can be emptied without
// one, as long as it holds nothing but imported accounts.
type absentSource struct{ why string }

// Proves implements provision.Limited.
func (absentSource) Proves() bool { return false }

// Deletes implements provision.Limited: what cannot be deleted is not retired.
func (absentSource) Deletes() bool { return false }

func (s absentSource) refuse() error { return fmt.Errorf("%w: %s", provision.ErrRefused, s.why) }

func (s absentSource) Create(context.Context, accounts.Account) (provision.Receipt, error) {
	return provision.Receipt{}, s.refuse()
}

func (s absentSource) Verify(context.Context, accounts.Account) error { return s.refuse() }

func (s absentSource) Delete(context.Context, accounts.Account) error { return s.refuse() }

// accountURL is where the account API is: the target's own HTTP address unless
// the spec says otherwise. It may have ${NAME} in it.
func accountURL(spec *scenarios.Spec) (string, error) {
	if text := spec.Accounts.Provision.HTTP.URL; text != "" {
		return text, nil
	}
	u, err := url.Parse(spec.Target)
	if err != nil {
		return "", usageError("target: %w", err)
	}
	scheme := "http"
	if u.Scheme == "https+poll" {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: u.Host, Path: u.Path}).String(), nil
}

// checkAccountAPI makes sure, before anything is set in motion, that something
// listens where accounts are created. Where there is a second place to go, or
// another protocol, the source finds out by itself.
func checkAccountAPI(ctx context.Context, e env, spec *scenarios.Spec) error {
	h := spec.Accounts.Provision.HTTP
	switch {
	case h == nil || h.FallbackURL != "":
		return nil
	case h.URL == "":
		return checkTarget(ctx, spec)
	}
	text, err := exchange.Expand(h.URL, e.lookup)
	if err != nil {
		return usageError("accounts.provision.http.url: %w", err)
	}
	u, err := url.Parse(text)
	if err != nil { // which may quote a secret
		return usageError("accounts.provision.http.url is not a URL such as http://127.0.0.1:9090")
	}
	return reach(ctx, spec.Safety.Allow, hostPort(u), "the account API "+h.URL)
}
