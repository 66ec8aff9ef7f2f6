package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
)

// keyVariable names the keys that records of accounts are encrypted with. There
// is no flag for them: every user of a machine can read the arguments of its
// processes. Child processes inherit it.
const keyVariable = "THRONG_ACCOUNTS_KEY"

// accountKeys reads the keys from the environment; nil if there are none.
func accountKeys(e env) (*accounts.Keyring, error) {
	text, _ := e.lookup(keyVariable)
	keys, err := accounts.ParseKeyring(text)
	if err != nil {
		return nil, usageError("%s: %w (`throng accounts key` prints a fresh one)", keyVariable, err)
	}
	return keys, nil
}

// warnHalfEncrypted says it when keys are given for a pool with accounts that has
// had none so far: only new records will be encrypted. Once there is one, it does
// not say it any more. Whatever else is wrong, opening the pool will say.
func warnHalfEncrypted(ctx context.Context, w io.Writer, config accounts.Config) {
	if config.Keys == nil {
		return
	}
	config.Keys = nil
	pool, err := accounts.Open(ctx, config)
	if err != nil {
		return
	}
	stats, err := pool.Stats(ctx)
	known := int64(0)
	for _, s := range stats {
		known += s.Known
	}
	if err == nil && known > 0 {
		fmt.Fprintf(w, "throng: pool %q has %d accounts that are not encrypted, and from now on new ones are: give every process that uses the pool %s, and encrypt the others with `throng accounts rekey`\n", config.Name, known, keyVariable)
	}
}

func newAccountsRekey(e env) *cobra.Command {
	p := &poolCommand{e: e}
	cmd := &cobra.Command{
		Use:   "rekey",
		Short: "Encrypt all records of the pool with the first key of " + keyVariable,
		Long: `Encrypts every record of the pool, also those that are not encrypted yet, with
the first of the keys in ` + keyVariable + `. The pool can be in use meanwhile.

To change the key, give every process that uses the pool both keys, the old one
first; then the new one first; then rekey; then take the old one away.`,
		Example: `  THRONG_ACCOUNTS_KEY="$NEW,$OLD" throng accounts rekey -f throng.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				if keys, err := accountKeys(e); err != nil || keys == nil {
					return errors.Join(err, startError("accounts rekey: set %s: its first key is what the records are encrypted with (`throng accounts key` prints a fresh one)", keyVariable))
				}
				n, err := p.pool.Rekey(ctx)
				return p.sayAnd(err, n > 0, struct {
					Pool     string `json:"pool"`
					Rekey    int    `json:"rekeyed"`
					Complete bool   `json:"complete"`
				}{p.name, n, err == nil}, func(w io.Writer) {
					fmt.Fprintf(w, "Accounts: %d records encrypted anew\n", n)
				})
			})
		},
	}
	p.addNamed(cmd)
	return cmd
}

func newAccountsKey(e env) *cobra.Command {
	p := &poolCommand{e: e}
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print a fresh key for " + keyVariable,
		Long: `Prints a random key, with an id that tells it from others. Keep it where you keep
secrets: without it the records that it encrypts are lost.`,
		Example: `  export THRONG_ACCOUNTS_KEY=$(throng accounts key)`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			key := accounts.GenerateKey()
			return p.say(struct {
				Key string `json:"key"`
			}{key}, func(w io.Writer) { fmt.Fprintln(w, key) })
		},
	}
	addJSONFlag(cmd, &p.json)
	return cmd
}
