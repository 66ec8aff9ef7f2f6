package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

// exportedAccounts is export --json FILE.
type exportedAccounts struct {
	Pool     string `json:"pool"`
	File     string `json:"file"`
	Exported int    `json:"exported"`
}

// exportedAccount is one line of export --json to stdout: with its password.
type exportedAccount struct {
	Username   string            `json:"username"`
	Password   string            `json:"password"`
	Role       string            `json:"role"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func newAccountsExport(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var (
		role, states string
		force        bool
	)
	cmd := &cobra.Command{
		Use:   "export [FILE|-]",
		Short: "Write the pool's accounts, with their passwords, as CSV that import reads",
		Long: `Writes accounts to a file that only its owner can read, or to stdout. A file that
is there is not overwritten without --force. Passwords are printed to a terminal
only when the file is "-".

With --json and a file, the outcome is printed as JSON; with --json to stdout,
the accounts are, one object per line.`,
		Example: `  throng accounts export backup.csv -f throng.yaml
  throng accounts export --pool classroom --role student --state available >students.csv`,
		Args: atMostOneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			filter := accounts.Filter{Role: role}
			var err error
			if filter.States, err = parseStates(states); err != nil {
				return err
			}
			file := "-"
			if len(args) > 0 {
				file = args[0]
			} else if e.size != nil {
				return usageError("accounts export: it would print passwords to the terminal: name a FILE, or - to have them there")
			}
			if err := checkNewFile(file, force); err != nil {
				return err
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				return p.export(ctx, filter, file, force)
			})
		},
	}
	p.addNamed(cmd)
	addRoleFlag(cmd, &role, "only accounts of this `role`")
	addStateFlag(cmd, &states)
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it is there")
	return cmd
}

func (p *poolCommand) export(ctx context.Context, filter accounts.Filter, file string, force bool) error {
	if file == "-" && p.json {
		encoder := json.NewEncoder(p.e.stdout)
		encoder.SetEscapeHTML(false)
		_, err := p.each(ctx, filter, 0, func(a accounts.Listed) error {
			return encoder.Encode(exportedAccount{a.Username, a.Password.Reveal(), a.Role, a.Attributes})
		})
		return err
	}
	// The columns are known only when all accounts are.
	var list []accounts.Account
	_, err := p.each(ctx, filter, 0, func(a accounts.Listed) error {
		list = append(list, a.Account)
		return nil
	})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := provision.WriteCSV(&text, list); err != nil {
		return fmt.Errorf("export accounts: %w", err)
	}
	if file == "-" {
		_, err := p.e.stdout.Write(text.Bytes())
		return err
	}
	if err := writeNewFile(file, force, text.Bytes()); err != nil {
		return err
	}
	return p.say(exportedAccounts{p.name, file, len(list)}, func(w io.Writer) {
		fmt.Fprintf(w, "Accounts: %d exported to %s\n", len(list), file)
	})
}

// checkNewFile finds out before the work what would lose its result.
func checkNewFile(file string, force bool) error {
	if file == "-" {
		return nil
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usageError("accounts export: %w", err)
	case !info.Mode().IsRegular():
		return usageError("accounts export: %s is not a file: use - for stdout", file)
	case !force:
		return usageError("accounts export: %s is there already: name another, or overwrite it with --force", file)
	}
	return nil
}

// writeNewFile writes a file that only its owner can read. It is there whole or
// not at all, and takes the place of another only by force.
func writeNewFile(file string, force bool, text []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // with mode 0600
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is one that nobody has asked for
		}
		return usageError("accounts export: %s: %w", file, err)
	}
	defer os.Remove(temporary.Name()) // when it was renamed, it is not there any more
	_, err = temporary.Write(text)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return usageError("accounts export: %w", err)
	}
	move := os.Link // which fails if the file has come meanwhile
	if force {
		move = os.Rename
	}
	if err := move(temporary.Name(), file); err != nil {
		return usageError("accounts export: %w", err)
	}
	return nil
}
