package cmd

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/scenarios"
)

//go:embed trial.yaml
var trialSpec []byte

func newTrial(e env) *cobra.Command {
	var (
		local  localFlags
		seed   uint64
		faults []string
	)
	cmd := &cobra.Command{
		Use:   "trial",
		Short: "Try everything on this machine, with nothing installed",
		Long: `Starts an embedded Redis, the built-in target, a master, workers and a probe on
loopback, creates accounts in the target, runs the classroom scenario, prints
the outcome, and cleans up after itself.`,
		Example: `  throng trial
  throng trial -u 500 -r 100 -t 1m --fault loss=0.01
  throng trial --web`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readEnvironment(cmd, e); err != nil {
				return err
			}
			spec, err := loadSpec(cmd, e, local.file, "trial.yaml", trialSpec)
			if err != nil {
				return err
			}
			local.load.apply(cmd, spec)
			if err := checkSpec(spec); err != nil {
				return err
			}
			r, err := local.prepare(cmd, e)
			if err != nil {
				return err
			}
			parsed, err := target.ParseFaults(faults)
			if err != nil {
				return usageError("--fault: %w", err)
			}
			server, err := target.New(target.Config{Seed: seed, Faults: parsed, Log: r.log})
			if err != nil {
				return usageError("%w", err)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return startError("built-in target: %w", err)
			}
			// Nothing of a trial may reach another system, whatever its file says.
			spec.Target = fmt.Sprintf("http+poll://%s", listener.Addr())
			policy := scenarios.PolicySpec{Rate: 1000, Concurrency: 20, Retries: 4, Timeout: scenarios.Duration(10 * time.Second)}
			if h := spec.Accounts.Provision.HTTP; h != nil {
				policy = h.PolicySpec
			}
			spec.Accounts.Provision = scenarios.ProvisionSpec{
				HTTP: &scenarios.HTTPProvisionSpec{PolicySpec: policy, Username: "{role}-{random}"},
			}
			r.spec, r.shared = spec, true
			howLong := "until stopped"
			switch length := spec.Load.Length(); {
			case r.web:
				howLong = "or as the web page says"
			case length > 0:
				howLong = "for " + scenarios.Duration(length).String()
			}
			if r.file == "" {
				r.file = "trial.yaml"
			}
			fmt.Fprintf(e.stdout, "Trial: %d users %s on %s (counters at http://%s/admin/counters)\n",
				spec.Load.Users, howLong, spec.Target, listener.Addr())

			// The target outlives the run, which deletes its accounts there.
			targetCtx, stop := context.WithCancel(context.WithoutCancel(cmd.Context()))
			served := make(chan error, 1)
			go func() { served <- server.Serve(targetCtx, listener) }()
			err = r.run(cmd.Context())
			stop()
			if serr := <-served; serr != nil {
				return r.also(err, startError("built-in target: %w", serr))
			}
			return err
		},
	}
	local.add(cmd.Flags(), 2, "200", "50", "30s")           // as trial.yaml has them
	local.pool.add(cmd.Flags(), 5*time.Second, time.Second) // so that a killed worker is got over soon
	local.common.swarm = "trial"                            // alone in its own Redis
	addFaultFlags(cmd, &seed, &faults)
	return cmd
}
