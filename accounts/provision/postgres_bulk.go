package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
)

// CreateAll implements Bulk. No username may be in the list twice. Accounts that
// the table refuses, by a constraint or a trigger, have an error of their own,
// and the others are created.
func (p *Postgres) CreateAll(ctx context.Context, list []accounts.Account) ([]Outcome, error) {
	outcomes := make([]Outcome, len(list))
	if err := p.create(ctx, list, outcomes); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// create creates accounts in one transaction. The database refuses all of them
// for a single one and does not say which, so the list is halved until that one
// is alone.
func (p *Postgres) create(ctx context.Context, list []accounts.Account, outcomes []Outcome) error {
	if len(list) == 0 {
		return nil
	}
	err := p.createTogether(ctx, list, outcomes)
	switch {
	case err == nil:
		return nil
	case !ofRow(err), ctx.Err() != nil:
		return p.words.explain(ctx, err, list)
	case len(list) == 1:
		outcomes[0] = Outcome{Err: p.words.explain(ctx, err, list)}
		return nil
	}
	half := len(list) / 2
	if err := p.create(ctx, list[:half], outcomes[:half]); err != nil {
		return err
	}
	return p.create(ctx, list[half:], outcomes[half:])
}

func (p *Postgres) createTogether(ctx context.Context, list []accounts.Account, outcomes []Outcome) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	// A transaction that waited for another to add a username must see it
	// afterwards, whatever the database's default is.
	return pgx.BeginTxFunc(ctx, p.db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, p.do.begin); err != nil {
			return err
		}
		stage := pgx.Identifier(strings.Split(stage, "."))
		if _, err := tx.CopyFrom(ctx, stage, p.do.stageColumns, p.table.staging(list)); err != nil {
			return err
		}
		there, err := p.insert(ctx, tx, outcomes)
		if err != nil || len(there) == 0 {
			return err
		}
		return p.recognise(ctx, tx, there, outcomes)
	})
}

// insert adds the stage's accounts to the table, and returns the numbers of
// those whose usernames were there.
func (p *Postgres) insert(ctx context.Context, tx pgx.Tx, outcomes []Outcome) (there []int32, err error) {
	var n *int32
	var made, same bool
	var id string
	rows, _ := tx.Query(ctx, p.do.insert, p.do.extra...) // its error is ForEachRow's
	_, err = pgx.ForEachRow(rows, []any{&n, &made, &id, &same}, func() error {
		switch {
		case n == nil:
			return &refusal{"the table changes usernames as it stores them: is there a trigger?"}
		case !made:
			there = append(there, *n)
		case !same:
			// It could never be told from somebody else's.
			return &refusal{"the table changes passwords as it stores them, and Throng must find them as they are: is there a trigger?"}
		default:
			outcomes[*n] = Outcome{Receipt: Receipt{TargetID: id}}
		}
		return nil
	})
	return there, err
}

// recognise tells for accounts whose usernames were there whether they are
// ours.
func (p *Postgres) recognise(ctx context.Context, tx pgx.Tx, there []int32, outcomes []Outcome) error {
	for _, n := range there {
		outcomes[n] = Outcome{Err: fmt.Errorf("%s: the username was there, and is not any more", p.words.subject)}
	}
	var n int32
	var same bool
	var id string
	rows, _ := tx.Query(ctx, p.do.compare, there)
	_, err := pgx.ForEachRow(rows, []any{&n, &id, &same}, func() error {
		if same {
			outcomes[n] = Outcome{Receipt: Receipt{TargetID: id}}
		} else {
			outcomes[n] = Outcome{Err: fmt.Errorf("%w: %s: it has another password", ErrTaken, p.words.subject)}
		}
		return nil
	})
	return err
}

// VerifyAll implements Bulk. Its error says nothing about the accounts: it wraps
// neither ErrRefused nor ErrMissing.
func (p *Postgres) VerifyAll(ctx context.Context, list []accounts.Account) ([]error, error) {
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	usernames, passwords, _ := p.arguments(list)
	outcomes := make([]error, 0, len(list))
	var there, same bool
	rows, _ := p.db.Query(limited, p.do.verify, usernames, passwords)
	_, err := pgx.ForEachRow(rows, []any{&there, &same}, func() error {
		switch {
		case !there:
			outcomes = append(outcomes, fmt.Errorf("%w: %s", ErrMissing, p.words.subject))
		case !same:
			outcomes = append(outcomes, fmt.Errorf("%w: %s: it has another password", ErrRefused, p.words.subject))
		default:
			outcomes = append(outcomes, nil)
		}
		return nil
	})
	if err == nil && len(outcomes) != len(list) {
		err = errors.New("the table has a username more than once: is its unique index damaged?")
	}
	if err != nil {
		line, _ := p.words.line(ctx, err, list)
		return nil, line
	}
	return outcomes, nil
}

// DeleteAll implements Bulk. A row is deleted when it has the account's username
// and password, and its id if that is known: an account whose password somebody
// has changed is left, since it looks like somebody else's, and the error of its
// own wraps ErrTaken. So is one that a constraint or a trigger keeps, and the
// others are deleted.
func (p *Postgres) DeleteAll(ctx context.Context, list []accounts.Account) ([]error, error) {
	outcomes := make([]error, len(list))
	if err := p.remove(ctx, list, outcomes); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// remove deletes accounts with one statement, or halves the list, as create
// does.
func (p *Postgres) remove(ctx context.Context, list []accounts.Account, outcomes []error) error {
	if len(list) == 0 {
		return nil
	}
	n, err := p.removeTogether(ctx, list)
	switch {
	case err == nil && n >= int64(len(list)):
		return nil
	case err == nil:
		return p.kept(ctx, list, outcomes)
	case !ofRow(err), ctx.Err() != nil:
		return p.words.explain(ctx, err, list)
	case len(list) == 1:
		outcomes[0] = p.words.explain(ctx, err, list)
		return nil
	}
	half := len(list) / 2
	if err := p.remove(ctx, list[:half], outcomes[:half]); err != nil {
		return err
	}
	return p.remove(ctx, list[half:], outcomes[half:])
}

func (p *Postgres) removeTogether(ctx context.Context, list []accounts.Account) (removed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	usernames, passwords, ids := p.arguments(list)
	tag, err := p.db.Exec(ctx, p.do.remove, usernames, passwords, ids)
	return tag.RowsAffected(), err
}

// kept finds accounts that are there after they were to be removed. It is a
// statement of its own, so that it sees what others have removed meanwhile.
func (p *Postgres) kept(ctx context.Context, list []accounts.Account, outcomes []error) error {
	there, err := p.VerifyAll(ctx, list)
	if err != nil {
		return err
	}
	for i, is := range there {
		switch {
		case is == nil:
			outcomes[i] = fmt.Errorf("%w: %s: the row of the username has another id", ErrTaken, p.words.subject)
		case errors.Is(is, ErrRefused):
			outcomes[i] = fmt.Errorf("%w: %s: it has another password", ErrTaken, p.words.subject)
		}
	}
	return nil
}

// arguments lists what identifies accounts. Ids are empty where the table has
// no column for them. What no text in PostgreSQL can be is nil, which equals
// nothing.
func (p *Postgres) arguments(list []accounts.Account) (usernames, passwords, ids []*string) {
	for _, a := range list {
		id := a.TargetID
		if p.table.id == "" {
			id = ""
		}
		usernames = append(usernames, storable(a.Username))
		passwords = append(passwords, storable(a.Password.Reveal()))
		ids = append(ids, storable(id))
	}
	return usernames, passwords, ids
}

func storable(text string) *string {
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return nil
	}
	return &text
}
