package cmd

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios"
)

func newAccountsCreate(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var (
		role string
		more bool
	)
	cmd := &cobra.Command{
		Use:   "create [N]",
		Short: "Create accounts in the target, and put them into the pool",
		Long: `Without N, creates accounts until the pool has as many of each role as the run
wants: the peak users of the role plus headroom, plus the probe's. With N, until
the pool has N accounts of the role, which is the one that most users have unless
--role says otherwise; with --more, N more than it has.

Running it again repeats nothing and finishes what was left half done, also after
a crash: "create 10000" twice makes 10,000 accounts, and a "create 10000 --more"
that was killed is finished by the same command. The pool never gets more
accounts than accounts.max allows.

With a csv file as the source, what the pool lacks of it is imported; such a
source can create none.`,
		Example: `  throng accounts create -f throng.yaml -u 5000
  throng accounts create 10000 --role student -f throng.yaml --rate 1000/m
  throng accounts create 500 --more -f throng.yaml`,
		Args: atMostOneArg("N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			want, err := wanted(p.spec, args, role, more)
			if err != nil {
				return err
			}
			open := func(ctx context.Context, config accounts.Config) (*accounts.Pool, error) {
				if err := checkAccountAPI(ctx, e, p.spec); err != nil {
					return nil, err
				}
				return p.make(ctx, config)
			}
			return p.with(cmd.Context(), open, func(ctx context.Context) error {
				made, err := fillPool(ctx, e, p.pool, p.spec, p.log, p.progressTo(), want, more)
				return p.sayAnd(err, made.Created+made.Imported > 0, made, func(w io.Writer) { made.write(w, true) })
			})
		},
	}
	p.addFile(cmd)
	p.load.addUsers(cmd.Flags(), "1")
	p.stored.addDefaults(cmd.Flags())
	p.policy.add(cmd.Flags())
	addRoleFlag(cmd, &role, "only accounts of this `role`")
	cmd.Flags().BoolVar(&more, "more", false, "N more than there are, in place of N in all")
	return cmd
}

// atMostOneArg refuses more than one word after a command.
func atMostOneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError("%s takes one %s, but got %q too (see `%s --help`)", cmd.CommandPath(), what, args[1], cmd.CommandPath())
		}
		return nil
	}
}

// progressTo is where progress is shown: not where JSON is.
func (p *poolCommand) progressTo() io.Writer {
	if p.json {
		return p.e.stderr
	}
	return p.e.stdout
}

// rolesOf are the roles of the accounts that a run uses: the scenario's, in the
// order of its classes, and the probe's.
func rolesOf(spec *scenarios.Spec) []string {
	var roles []string
	for _, class := range spec.Behaviour.Classes() {
		if !slices.Contains(roles, class.Role) {
			roles = append(roles, class.Role)
		}
	}
	if !slices.Contains(roles, scenarios.RoleProbe) {
		roles = append(roles, scenarios.RoleProbe)
	}
	return roles
}

// mainRole is the role that most users have: of the run, and at least of so many
// as it takes for every class to have its share. Of equals it is the first.
func mainRole(spec *scenarios.Spec) string {
	users := spec.Load.Users
	weights := 0
	for _, class := range spec.Behaviour.Classes() {
		weights += class.Weight
	}
	peak := scenarios.PeakByRole(spec.Acting(), max(users, weights))
	roles := rolesOf(spec)
	most := roles[0]
	for _, role := range roles {
		if peak[role] > peak[most] {
			most = role
		}
	}
	return most
}

// wanted is how many accounts of each role create is to see to.
func wanted(spec *scenarios.Spec, args []string, role string, more bool) (map[string]int, error) {
	roles := rolesOf(spec)
	if role != "" && !slices.Contains(roles, role) {
		return nil, usageError("--role: the scenario has no role %q: it has %s", role, strings.Join(roles, ", "))
	}
	if len(args) == 0 {
		want := spec.WantedAccounts()
		switch {
		case more:
			return nil, usageError("accounts create: say how many more: `throng accounts create N --more`")
		case role != "":
			return map[string]int{role: want[role]}, nil
		}
		return want, nil
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return nil, usageError("accounts create: %q is not a whole number above 0", args[0])
	}
	if role == "" {
		role = mainRole(spec)
	}
	return map[string]int{role: n}, nil
}
