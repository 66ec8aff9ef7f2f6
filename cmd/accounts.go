package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/keyspace"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/scenarios"
)

func newAccounts(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Create, look after and delete the test accounts of a pool",
		Long: `The accounts of a pool, which is kept in Redis: created in the target, leased by
workers one user at a time, given back, quarantined when the target refuses
them, and deleted.

Commands that ask the target take the run's file; the others can do with the
name of the pool, by --pool. Where the pool's records are encrypted, every
command wants the key in the environment variable THRONG_ACCOUNTS_KEY; no flag
has it, because other users of a machine can see flags.`,
		Example: `  throng accounts create -f throng.yaml -u 5000
  throng accounts stats -f throng.yaml
  throng accounts delete -f throng.yaml`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newAccountsCreate(e), newAccountsVerify(e), newAccountsDelete(e), newAccountsReap(e),
		newAccountsImport(e), newAccountsExport(e), newAccountsList(e), newAccountsStats(e),
		newAccountsRelease(e), newAccountsQuarantine(e), newAccountsRestore(e),
		newAccountsRekey(e), newAccountsKey(e),
	)
	return cmd
}

// poolCommand is what the commands about one pool share. Those fields that are
// no flags are there while with runs the command's own work.
type poolCommand struct {
	e      env
	common commonFlags
	load   loadFlags
	stored poolFlags
	policy policyFlags
	file   string
	name   string
	json   bool

	spec *scenarios.Spec // nil without a file
	pool *accounts.Pool
	log  *zap.Logger
}

// addFile adds the flags of a command that needs the run's file.
func (p *poolCommand) addFile(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.file, "file", "f", "", "the run's `throng.yaml`, which names the pool and the target")
	p.common.addRedis(cmd.Flags(), defaultRedis)
	p.common.addLog(cmd.Flags(), "WARNING")
	addJSONFlag(cmd, &p.json)
}

// addNamed adds the flags of a command that can do with the name of the pool.
func (p *poolCommand) addNamed(cmd *cobra.Command) {
	p.addFile(cmd)
	cmd.Flags().StringVar(&p.name, "pool", "", "`name` of the pool, instead of the file or what it says")
}

// addJSONFlag adds --json as a switch. For a run the flag, its variable and its
// key name a file, which a command about accounts must not take for its own.
func addJSONFlag(cmd *cobra.Command, json *bool) {
	cmd.Flags().BoolVar(json, "json", false, "print JSON, and nothing else, to stdout")
	onlyOnLine(cmd.Flags(), "json")
}

// read reads the settings and the file, if there is one.
func (p *poolCommand) read(cmd *cobra.Command) error {
	if err := readEnvironment(cmd, p.e); err != nil {
		return err
	}
	named := cmd.Flags().Lookup("pool") != nil
	switch {
	case p.file != "":
		var err error
		if p.spec, err = loadSpec(cmd, p.e, p.file, "", nil); err != nil {
			return err
		}
		p.load.apply(cmd, p.spec)
		if ignored := p.policy.apply(cmd, p.spec); len(ignored) > 0 {
			fmt.Fprintf(p.e.stderr, "throng: %s: of no effect, because accounts.provision names no source that is called\n", strings.Join(ignored, ", "))
		}
		if err := checkSpec(p.spec); err != nil {
			return err
		}
		if p.name == "" {
			p.name = p.spec.Accounts.Pool
		}
	case !named:
		return usageError("%s: give the run's file with -f throng.yaml", cmd.CommandPath())
	case p.name == "":
		return usageError("%s: give the run's file with -f throng.yaml, or the pool's name with --pool", cmd.CommandPath())
	}
	if err := keyspace.Check(p.name); err != nil { // a file's was checked
		return usageError("--pool: %w", err)
	}
	if cmd.Flags().Lookup("lease-ttl") != nil {
		if err := p.stored.check(); err != nil {
			return err
		}
	}
	var err error
	p.log, err = p.common.logger(p.e)
	return err
}

// with opens the pool, as open says, and calls f. Settings must have been read.
func (p *poolCommand) with(ctx context.Context, open openFunc, f func(ctx context.Context) error) error {
	keys, err := accountKeys(p.e)
	if err != nil {
		return err
	}
	client, err := redisurl.Connect(ctx, p.common.redis)
	if err != nil {
		return err
	}
	defer client.Close()
	p.pool, err = open(ctx, accounts.Config{Redis: client, Name: p.name, Keys: keys, Log: p.log})
	if err != nil {
		return err
	}
	return f(ctx)
}

// openFunc opens a pool: accounts.Open, for one that must be there.
type openFunc func(context.Context, accounts.Config) (*accounts.Pool, error)

// make opens the pool, and makes it if it is not there, with the settings of the
// file and the flags.
func (p *poolCommand) make(ctx context.Context, config accounts.Config) (*accounts.Pool, error) {
	warnHalfEncrypted(ctx, p.e.stderr, config)
	return accounts.Create(ctx, config, poolSettings(p.spec, p.stored))
}

// say prints an outcome: the document as JSON if that is asked for, and
// otherwise what lines writes.
func (p *poolCommand) say(document any, lines func(w io.Writer)) error {
	var text strings.Builder
	if p.json {
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(document); err != nil {
			return fmt.Errorf("encode the outcome: %w", err)
		}
	} else {
		lines(&text)
	}
	_, err := io.WriteString(p.e.stdout, text.String())
	return err
}

// sayAnd prints the outcome of work that may have failed on the way: what was
// done, if anything, is kept, and so it is said. Who reads JSON gets a document
// also when nothing was done, unless the command was given wrongly.
func (p *poolCommand) sayAnd(err error, anything bool, document any, lines func(w io.Writer)) error {
	if err != nil && !anything && (!p.json || codeOf(err) == master.ExitUsage) {
		return err
	}
	if said := p.say(document, lines); err == nil {
		return said
	}
	return err
}

// checkRole refuses a role that the pool does not have; "" is every role.
func (p *poolCommand) checkRole(ctx context.Context, role string) error {
	if role == "" {
		return nil
	}
	stats, err := p.pool.Stats(ctx)
	if err != nil {
		return err
	}
	var roles []string
	for _, s := range stats {
		if s.Role == role {
			return nil
		}
		roles = append(roles, s.Role)
	}
	if len(roles) == 0 {
		return usageError("--role: pool %q has no accounts", p.name)
	}
	return usageError("--role: pool %q has no role %q: it has %s", p.name, role, strings.Join(roles, ", "))
}
