package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

// importedAccounts is import --json.
type importedAccounts struct {
	Pool    string `json:"pool"`
	Added   int    `json:"added"`
	Existed int    `json:"existed"`
	// LeftOut counts rows that are no accounts; Problems says what is wrong with
	// the first of them.
	LeftOut  int          `json:"left_out"`
	Problems []rowProblem `json:"problems"`
	Complete bool         `json:"complete"`
}

type rowProblem struct {
	Line   int    `json:"line"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

func newAccountsImport(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var skip bool
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take accounts that the target has already into the pool",
		Long: `Reads a CSV file with a header: the columns username, password and role, in any
order; every other column is an attribute. Accounts that the pool has already,
as they are, are passed over. The pool is made if it is not there.

Nothing is imported if a row is wrong, or if the pool knows an account with
another password, role or attributes: everything that is wrong is listed, by row
and column. With --skip-bad, wrong rows are left out, and listed.

Nor is anything imported if the pool would then have more accounts than the
file's accounts.max allows. Imported accounts are never deleted from the target.`,
		Example: `  throng accounts import students.csv -f throng.yaml
  throng accounts import - --pool classroom --skip-bad <students.csv`,
		Args: oneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			list, bad, err := readAccounts(e, args[0])
			if err != nil {
				return err
			}
			if bad.Rows > 0 && !skip {
				return badRows(args[0], bad)
			}
			return p.with(cmd.Context(), p.find, func(ctx context.Context) error {
				most := 0
				if p.spec != nil {
					most = p.spec.Accounts.Max
				}
				result, err := importWithin(ctx, e, p.pool, list, most)
				done := importedAccounts{p.name, result.Added, result.Existed, bad.Rows, problemsOf(bad), err == nil}
				return p.sayAnd(err, result.Added > 0, done, func(w io.Writer) { done.write(w, err == nil) })
			})
		},
	}
	p.addNamed(cmd)
	p.stored.addDefaults(cmd.Flags())
	cmd.Flags().BoolVar(&skip, "skip-bad", false, "leave wrong rows out, and list them")
	return cmd
}

// find opens the pool, with whatever settings it has, or makes it.
func (p *poolCommand) find(ctx context.Context, config accounts.Config) (*accounts.Pool, error) {
	warnHalfEncrypted(ctx, p.e.stderr, config)
	pool, err := accounts.Open(ctx, config)
	if errors.Is(err, accounts.ErrNoPool) {
		return p.make(ctx, config)
	}
	return pool, err
}

// readAccounts reads a CSV file, or stdin for "-". Bad are rows that are no
// accounts.
func readAccounts(e env, file string) (list []accounts.Account, bad provision.RowProblems, err error) {
	r, name := e.stdin, "stdin"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, bad, usageError("import accounts: %w", err)
		}
		defer f.Close()
		r, name = f, file
	}
	list, bad, err = provision.ReadCSV(r, name)
	if err != nil {
		return nil, bad, usageError("import accounts: %w", err)
	}
	return list, bad, nil
}

// readAll reads a CSV file in which no row may be wrong.
func readAll(e env, file string) ([]accounts.Account, error) {
	list, bad, err := readAccounts(e, file)
	if err == nil && bad.Rows > 0 {
		err = badRows(file, bad)
	}
	return list, err
}

// maxListed is how many wrong rows are listed.
const maxListed = 100

// badRows is the error of a file with wrong rows: a line for each.
func badRows(file string, bad provision.RowProblems) error {
	listed := bad.First[:min(len(bad.First), maxListed)]
	var lines strings.Builder
	for _, problem := range listed {
		fmt.Fprintf(&lines, "\n%s: %v", file, problem)
	}
	if more := bad.Rows - len(listed); more > 0 {
		fmt.Fprintf(&lines, "\nand %d more", more)
	}
	return usageError("rows that are wrong: %d; nothing was imported (--skip-bad leaves them out)%s", bad.Rows, lines.String())
}

func problemsOf(bad provision.RowProblems) []rowProblem {
	all := []rowProblem{}
	for _, problem := range bad.First[:min(len(bad.First), maxListed)] {
		all = append(all, rowProblem(problem))
	}
	return all
}

func (i importedAccounts) write(w io.Writer, complete bool) {
	fmt.Fprintf(w, "Accounts: %d imported, %d were there", i.Added, i.Existed)
	if i.LeftOut > 0 {
		fmt.Fprintf(w, ", left out %d rows", i.LeftOut)
	}
	if !complete {
		fmt.Fprint(w, "; the same command does the rest")
	}
	fmt.Fprintln(w)
	for _, problem := range i.Problems {
		fmt.Fprintf(w, "  %v\n", provision.RowProblem(problem))
	}
	if more := i.LeftOut - len(i.Problems); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

// oneArg refuses anything but one word after a command.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError("%s: give one %s (see `%s --help`)", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}
