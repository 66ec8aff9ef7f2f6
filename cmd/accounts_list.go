package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
)

// listedAccount is one line of list --json: never a password.
type listedAccount struct {
	ID         string            `json:"id"`
	Username   string            `json:"username"`
	Role       string            `json:"role"`
	State      string            `json:"state"`
	Since      *time.Time        `json:"since,omitempty"`
	Until      *time.Time        `json:"until,omitempty"`
	Holder     string            `json:"holder,omitempty"`
	HolderName string            `json:"holder_name,omitempty"`
	Token      int64             `json:"token,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	TargetID   string            `json:"target_id,omitempty"`
	Created    bool              `json:"created"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// errEnough ends a list that has reached its limit.
var errEnough = errors.New("enough")

func newAccountsList(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var (
		role, states string
		limit        int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the pool's accounts with their states, without passwords",
		Long: `Lists accounts in no order, each with where it was when it was looked at. SINCE
is when it became available, was leased or was quarantined, UNTIL when a resting
account is ready or a quarantined one comes out, HOLDER who holds it, or who
gave it back as refused.`,
		Example: `  throng accounts list -f throng.yaml --state quarantined
  throng accounts list --pool classroom --role student --limit 20 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			filter := accounts.Filter{Role: role}
			var err error
			if filter.States, err = parseStates(states); err != nil {
				return err
			}
			if limit < 0 {
				return usageError("--limit: %d is below 0", limit)
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				return p.list(ctx, filter, limit)
			})
		},
	}
	p.addNamed(cmd)
	addRoleFlag(cmd, &role, "only accounts of this `role`")
	addStateFlag(cmd, &states)
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most this `number` of accounts (default all)")
	return cmd
}

func addRoleFlag(cmd *cobra.Command, role *string, usage string) {
	cmd.Flags().StringVar(role, "role", "", usage)
}

func addStateFlag(cmd *cobra.Command, states *string) {
	cmd.Flags().StringVar(states, "state", "", "only accounts in these `states`, separated by commas: "+stateNames())
}

func stateNames() string {
	var names []string
	for _, s := range accounts.AccountStates() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// parseStates reads a list of states; an empty one is all.
func parseStates(text string) (states []accounts.AccountState, err error) {
	for name := range strings.SplitSeq(text, ",") {
		state := accounts.AccountState(strings.TrimSpace(name))
		if text == "" {
			break
		}
		if !slices.Contains(accounts.AccountStates(), state) {
			return nil, usageError("--state: %q is none of %s", name, stateNames())
		}
		states = append(states, state)
	}
	return states, nil
}

// each calls do with the accounts that the filter lets through, at most limit of
// them if there is one, and says whether there were more.
func (p *poolCommand) each(ctx context.Context, filter accounts.Filter, limit int, do func(accounts.Listed) error) (more bool, err error) {
	if err := p.checkRole(ctx, filter.Role); err != nil {
		return false, err
	}
	n := 0
	err = p.pool.List(ctx, filter, func(a accounts.Listed) error {
		if n++; limit > 0 && n > limit {
			return errEnough
		}
		return do(a)
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}

func (p *poolCommand) list(ctx context.Context, filter accounts.Filter, limit int) error {
	if p.json {
		encoder := json.NewEncoder(p.e.stdout)
		encoder.SetEscapeHTML(false)
		_, err := p.each(ctx, filter, limit, func(a accounts.Listed) error { return encoder.Encode(listed(a)) })
		return err
	}
	t := newTable(p.e.stdout, "ID", "USERNAME", "ROLE", "STATE", "SINCE", "UNTIL", "HOLDER", "REASON")
	more, err := p.each(ctx, filter, limit, func(a accounts.Listed) error {
		state, holder := string(a.State), a.HolderName
		if state == "" {
			state = "nowhere" // and an audit says so
		}
		if holder == "" {
			holder = a.Holder
		}
		return t.row(a.ID, a.Username, a.Role, state, moment(a.Since), moment(a.Until), holder, a.Reason)
	})
	if err != nil && !t.begun {
		return err
	}
	if err = errors.Join(err, t.flush()); err == nil && more {
		_, err = fmt.Fprintf(p.e.stdout, "There are more: these are the first %d\n", limit)
	}
	return err
}

func listed(a accounts.Listed) listedAccount {
	return listedAccount{
		ID: a.ID, Username: a.Username, Role: a.Role, State: string(a.State), Since: given(a.Since), Until: given(a.Until),
		Holder: a.Holder, HolderName: a.HolderName, Token: a.Token, Reason: a.Reason,
		TargetID: a.TargetID, Created: a.Created, Attributes: a.Attributes,
	}
}

// given is nil for a time that is none.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// moment is a time for people; a dash for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
