package provision

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/exchange"
)

// Create implements Source. A username that is there already is ours if the
// target accepts our password for it.
func (h *httpSource) Create(ctx context.Context, a accounts.Account) (Receipt, error) {
	f := fieldsOf(a)
	got, err := h.ask(ctx, h.calls.Create, f)
	if err != nil {
		return Receipt{}, err
	}
	switch got.meaning() {
	case exchange.OK:
		id, found := got.call.ID.Text(got.body)
		if found || got.call.ID.IsZero() {
			return Receipt{TargetID: id}, nil
		}
		if h.proof() == nil {
			return Receipt{}, fmt.Errorf("%w: %s without %s", ErrRefused, got.line, got.call.ID)
		}
	case exchange.Taken:
	default:
		return Receipt{}, got.failure()
	}
	return h.recognise(ctx, got, f)
}

// recognise says whether the account that the target has of the username is
// ours, after an answer to create that does not.
func (h *httpSource) recognise(ctx context.Context, created answer, f exchange.Fields) (Receipt, error) {
	proof := h.proof()
	if proof == nil {
		return Receipt{}, fmt.Errorf("%w: %s: without a login request nobody can tell whose account that is", ErrRefused, created)
	}
	got, err := h.ask(ctx, proof, f)
	if err != nil {
		return Receipt{}, err
	}
	switch got.meaning() {
	case exchange.OK:
	case exchange.Missing:
		return Receipt{}, fmt.Errorf("%s, and then %s", created, got)
	case exchange.Refused:
		// Forbidden, or locked: that says nothing about the password.
		if got.status == http.StatusForbidden || got.status == http.StatusLocked {
			return Receipt{}, fmt.Errorf("%w: %s, and nobody can tell whose account that is: %s", ErrRefused, created, got)
		}
		return Receipt{}, fmt.Errorf("%w: it has another password: %s", ErrTaken, got)
	default:
		return Receipt{}, got.failure()
	}
	id, err := h.id(ctx, got, f)
	if err == nil && id == "" && !h.calls.Create.ID.IsZero() {
		err = fmt.Errorf("%w: %s, and the id of the account is in no answer: correct create.id, or give login.id or verify.id", ErrRefused, created)
	}
	return Receipt{TargetID: id}, err
}

// proof is the request whose success proves that an account is ours, or nil.
func (h *httpSource) proof() *exchange.Call {
	switch {
	case h.calls.Login != nil:
		return h.calls.Login
	case h.calls.Verify != nil && h.calls.Verify.Proves():
		return h.calls.Verify
	}
	return nil
}

// id returns what the target calls an account that is ours, as proved says or
// else the answer to verify; "" if neither does.
func (h *httpSource) id(ctx context.Context, proved answer, f exchange.Fields) (string, error) {
	if id, found := proved.call.ID.Text(proved.body); found {
		return id, nil
	}
	verify := h.calls.Verify
	if verify == nil || verify == proved.call || verify.ID.IsZero() || verify.Uses(exchange.TargetID) {
		return "", nil
	}
	f.Token, _ = proved.call.Token.Text(proved.body)
	got, err := h.ask(ctx, verify, f)
	if err != nil {
		return "", err
	}
	if got.meaning() != exchange.OK {
		return "", got.failure()
	}
	id, _ := verify.ID.Text(got.body)
	return id, nil
}

// Verify implements Source. That the account can log in is the truth; without a
// login request, the answer to verify is.
func (h *httpSource) Verify(ctx context.Context, a accounts.Account) error {
	f := fieldsOf(a)
	if h.calls.Login == nil {
		got, err := h.ask(ctx, h.calls.Verify, f)
		if err != nil || got.meaning() == exchange.OK {
			return err
		}
		return got.failure()
	}
	_, err := h.login(ctx, f)
	return err
}

// login logs in. When the account is refused, and verify says that it is not
// there at all, the error wraps ErrMissing: many APIs do not tell strangers
// which accounts there are.
func (h *httpSource) login(ctx context.Context, f exchange.Fields) (answer, error) {
	got, err := h.ask(ctx, h.calls.Login, f)
	if err != nil {
		return got, err
	}
	switch got.meaning() {
	case exchange.OK:
		if _, found := got.call.Token.Text(got.body); !found && !got.call.Token.IsZero() {
			return got, fmt.Errorf("%s without %s", got.line, got.call.Token)
		}
		return got, nil
	case exchange.Refused:
		verify := h.calls.Verify
		if verify == nil || verify.Uses(exchange.Token) || verify.Uses(exchange.TargetID) && f.TargetID == "" {
			break
		}
		// Whatever else comes of it, the login was refused.
		if there, err := h.ask(ctx, verify, f); err == nil && there.meaning() == exchange.Missing {
			return got, there.failure()
		}
	}
	return got, got.failure()
}

// Proves implements Limited.
func (h *httpSource) Proves() bool { return h.proof() != nil }

// Deletes implements Limited.
func (h *httpSource) Deletes() bool { return h.calls.Delete != nil }

// Delete implements Source.
func (h *httpSource) Delete(ctx context.Context, a accounts.Account) error {
	if h.calls.Delete == nil {
		return fmt.Errorf("%w: the account API has no delete request", ErrRefused)
	}
	f := fieldsOf(a)
	err := h.prepareDelete(ctx, &f)
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	got, err := h.ask(ctx, h.calls.Delete, f)
	if err != nil {
		return err
	}
	if m := got.meaning(); m != exchange.OK && m != exchange.Missing {
		return got.failure()
	}
	return nil
}

// prepareDelete finds out what the request's texts name and f lacks: a token,
// or the id of an account that the pool never heard to be created. Its error
// wraps ErrMissing if the account is gone.
func (h *httpSource) prepareDelete(ctx context.Context, f *exchange.Fields) error {
	noID := h.calls.Delete.Uses(exchange.TargetID) && f.TargetID == ""
	if !noID && !h.calls.Delete.Uses(exchange.Token) {
		return nil
	}
	if h.calls.Login == nil {
		return h.prepareByVerify(ctx, f)
	}
	got, err := h.login(ctx, *f)
	if err != nil {
		return err
	}
	f.Token, _ = got.call.Token.Text(got.body)
	if noID {
		if f.TargetID, err = h.id(ctx, got, *f); err == nil && f.TargetID == "" {
			err = fmt.Errorf("%w: the id of the account is not known: give login.id or verify.id", ErrRefused)
		}
	}
	return err
}

// prepareByVerify finds the id of an account, of an API without a login.
func (h *httpSource) prepareByVerify(ctx context.Context, f *exchange.Fields) error {
	verify := h.calls.Verify
	if verify.ID.IsZero() || verify.Uses(exchange.TargetID) {
		return fmt.Errorf("%w: the id of the account is not known: give verify.id", ErrRefused)
	}
	got, err := h.ask(ctx, verify, *f)
	if err != nil {
		return err
	}
	if got.meaning() != exchange.OK {
		return got.failure()
	}
	id, found := verify.ID.Text(got.body)
	if !found {
		return fmt.Errorf("%w: %s without %s", ErrRefused, got.line, verify.ID)
	}
	f.TargetID = id
	return nil
}

// countingSource is an httpSource whose API has a count request.
type countingSource struct{ *httpSource }

// Count implements Counter.
func (h countingSource) Count(ctx context.Context) (int, error) {
	got, err := h.ask(ctx, h.calls.Count, exchange.Fields{})
	if err != nil {
		return 0, fmt.Errorf("count the target's accounts: %w", err)
	}
	if got.meaning() != exchange.OK {
		return 0, fmt.Errorf("count the target's accounts: %w", got.failure())
	}
	n, found := got.call.Value.Count(got.body)
	if !found {
		return 0, fmt.Errorf("count the target's accounts: %s without a whole number at %s", got.line, got.call.Value)
	}
	return n, nil
}
