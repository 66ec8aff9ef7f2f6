package cmd

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master"
)

const (
	// healthTimeout is below what container engines give a check by habit.
	healthTimeout = 5 * time.Second
	// silentFor is after how long a member counts as lost; the master thinks so
	// too.
	silentFor = 3 * time.Second
)

func newHealth(e env) *cobra.Command {
	var common commonFlags
	cmd := &cobra.Command{
		Use:   "health [URL]",
		Short: "Say whether a process of throng is well, for the health check of a container",
		Long: `With a URL, asks it, and is content with any answer below 400: the target has
/healthz. Without one, asks Redis whether a worker or a probe of this host has
been heard of by the swarm within the last three seconds: in a container, the one
that it runs. Prints what is wrong and exits with 1, or exits with 0.`,
		Example: `  throng health http://127.0.0.1:9090/healthz
  throng health --redis redis://redis:6379`,
		Args: atMostOneArg("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := readEnvironment(cmd, e); err != nil {
				return err
			}
			if err := common.check(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
			defer cancel()
			if len(args) == 0 {
				return memberIsWell(ctx, common.redis, common.swarm)
			}
			u, err := url.Parse(args[0])
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return usageError("health: %q is not a URL like http://127.0.0.1:9090/healthz", args[0])
			}
			return answers(ctx, u)
		},
	}
	common.addRedis(cmd.Flags(), defaultRedis)
	common.addSwarm(cmd.Flags())
	return cmd
}

// answers makes sure that somebody answers at u, with no error.
func answers(ctx context.Context, u *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return usageError("health: %w", err)
	}
	// A redirection is an answer: it may lead to a page for logging in.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return unwell("%w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		return unwell("%s answers %s", u.Redacted(), res.Status)
	}
	return nil
}

// memberIsWell makes sure that a member of this host is in the swarm.
func memberIsWell(ctx context.Context, address, swarm string) error {
	host, err := os.Hostname()
	if err != nil {
		return unwell("%w", err)
	}
	client, err := redisurl.Connect(ctx, address)
	if err != nil {
		return unwell("%w", err)
	}
	defer client.Close()
	members, err := coord.Look(ctx, client, "", swarm)
	if err != nil {
		return unwell("%w", err)
	}
	for _, member := range members {
		if strings.HasPrefix(member.State.Name, host+":") && member.Silent < silentFor {
			return nil
		}
	}
	return unwell("swarm %q has not heard of a worker or a probe of %s for %v", swarm, host, silentFor)
}

func unwell(format string, args ...any) error {
	return &exitError{master.ExitFailed, fmt.Errorf(format, args...)}
}
