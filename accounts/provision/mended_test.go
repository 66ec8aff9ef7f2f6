package provision_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/exchange"
	"github.com/throng-load/throng/internal/redistest"
)

// credulous is a town whose Verify looks at usernames only, and that cannot
// delete unless deletes.
type credulous struct {
	*town
	deletes bool
}

func (credulous) Proves() bool    { return false }
func (c credulous) Deletes() bool { return c.deletes }

func (c credulous) Verify(ctx context.Context, a accounts.Account) error {
	if err := c.town.Verify(ctx, a); errors.Is(err, provision.ErrMissing) {
		return err
	}
	return nil
}

// refusing makes the target refuse what is asked of accounts so named.
func refusing(w *town, verb, part string) {
	w.before = func(_ context.Context, v string, a accounts.Account) error {
		if v == verb && strings.Contains(a.Username, part) {
			return fmt.Errorf("%w: answered 400", provision.ErrRefused)
		}
		return nil
	}
}

func TestDeleteAllWithoutProof(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	w.settle(account("student-a", "student", "theirs"))
	if _, err := pool.Intend(t.Context(), []accounts.Account{account("student-a", "student", "ours"), account("student-b", "student", "ours")}); err != nil {
		t.Fatal(err)
	}
	refusing(w, "create", "")
	_, err := provision.New(pool, credulous{w, true}, provision.Config{}).DeleteAll(t.Context())
	if err == nil || !strings.Contains(err.Error(), `"student-a"`) {
		t.Errorf("got %v, want the username that is in doubt", err)
	}
	if there := w.population(); len(there) != 1 || w.deletes != 0 || fmt.Sprint(names(intents(t, pool))) != "[student-a]" {
		t.Errorf("%d in the target after %d deletions; intended: %v", len(there), w.deletes, names(intents(t, pool)))
	}
}

func TestHTTPSaysWhatItCannot(t *testing.T) {
	t.Parallel()
	base := serve(t, http.NotFoundHandler())
	cfg := httpConfig(base)
	cfg.API = exchange.API{
		Create: &exchange.Request{Path: "/users", Body: `{"u":{{json .Username}},"p":{{json .Password}}}`},
		Verify: &exchange.Request{Path: "/users?login={{query .Username}}"},
	}
	if s := mustHTTP(t, cfg).(provision.Limited); s.Proves() || s.Deletes() {
		t.Errorf("proves %v, deletes %v; want neither", s.Proves(), s.Deletes())
	}
	if s := newHTTP(t, base).(provision.Limited); !s.Proves() || !s.Deletes() {
		t.Errorf("the built-in API: proves %v, deletes %v; want both", s.Proves(), s.Deletes())
	}
}

func TestEnsureDropsIntentsThatAreRefused(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	w.settle(account("bad-taken", "student", "theirs"))
	refusing(w, "create", "bad-")
	p := provision.New(pool, w, provision.Config{Username: "bad-{random}"})
	if _, err := p.Ensure(t.Context(), map[string]int{"student": 20}); !errors.Is(err, provision.ErrRefused) {
		t.Fatalf("got %v, want ErrRefused", err)
	}
	if _, err := pool.Intend(t.Context(), []accounts.Account{account("bad-taken", "student", "ours")}); err != nil {
		t.Fatal(err)
	}
	log, lines := observer.New(zap.WarnLevel)
	p = provision.New(pool, w, provision.Config{Log: zap.New(log)})
	if got := mustEnsure(t, p, map[string]int{"student": 20}); got != (provision.Result{Created: 20, Doubtful: 1}) {
		t.Errorf("%+v, want 20 created and one in doubt", got)
	}
	if got := names(intents(t, pool)); fmt.Sprint(got) != "[bad-taken]" || lines.FilterMessageSnippet("intended accounts are left").Len() != 1 {
		t.Errorf("intended: %v; said: %v", got, lines.All())
	}
}

func TestDeleteAllGoesOnAfterARefusal(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		rdb, namespace := redistest.Embedded(t)
		pool, w := newPool(t, rdb, namespace), newTown()
		var source provision.Source = w
		if bulk {
			source = &wholesale{town: w}
		}
		p := provision.New(pool, source, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 1200})
		kept := listed(t, pool)[7].Username
		refusing(w, "delete", kept)
		for _, deleted := range []int{1199, 0} { // and again
			result, err := p.DeleteAll(t.Context())
			var undeleted *provision.UndeletedError
			if !errors.As(err, &undeleted) || undeleted.Total != 1 || undeleted.Some[0].Username != kept || !errors.Is(err, provision.ErrRefused) {
				t.Errorf("got %v, want it to name %s", err, kept)
			}
			if result != (provision.Result{Deleted: deleted, Undeleted: 1}) || len(retired(t, pool)) != 1 {
				t.Errorf("%+v, %d retired", result, len(retired(t, pool)))
			}
		}
	}
}

func TestDeleteAllStopsWhenAllAreRefused(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	p := provision.New(pool, w, provision.Config{})
	mustEnsure(t, p, map[string]int{"student": 1200})
	refusing(w, "delete", "")
	if result, err := p.DeleteAll(t.Context()); err == nil || result.Undeleted != 510 || len(retired(t, pool)) != 510 {
		t.Errorf("%+v, %v, %d retired; want a batch and a few more", result, err, len(retired(t, pool)))
	}
}

func TestDeleteAllOfASourceThatCannot(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	p := provision.New(pool, credulous{w, false}, provision.Config{})
	mustEnsure(t, p, map[string]int{"student": 5})
	if _, err := p.DeleteAll(t.Context()); !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), "no delete request") {
		t.Errorf("got %v", err)
	}
	agree(t, pool, w, map[string]int{"student": 5})
}

func TestReapWithNothingToGoBy(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	result, err := provision.New(pool, w, provision.Config{}).Reap(t.Context())
	if err != nil || result.Proven || !strings.Contains(result.Doubt, "nothing was deleted") {
		t.Errorf("%+v, %v; want no proof", result, err)
	}
	p := provision.New(pool, provision.Generated{}, provision.Config{})
	mustEnsure(t, p, map[string]int{"student": 10})
	for _, deleted := range []int{10, 0} {
		result, err = p.Reap(t.Context())
		if want := (provision.ReapResult{Deleted: deleted, Untouched: true, Proven: true}); err != nil || result != want {
			t.Errorf("%+v, %v; want %+v", result, err, want)
		}
	}
}

func TestPostgresLeavesChangedPasswords(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	p := openPostgres(t, cfg)
	list := people("our", 5)
	mustCreate(t, p, list)
	mustExec(t, db, "UPDATE users SET password = 'changed' WHERE username = '"+list[2].Username+"'")
	errs, err := p.DeleteAll(t.Context(), list)
	if err != nil || !errors.Is(errs[2], provision.ErrTaken) || errors.Join(errs[0], errs[1], errs[3], errs[4]) != nil {
		t.Errorf("%v, %v; want ErrTaken of the third alone", errs, err)
	}
}

// Who is interrupted does not find the target down.
func TestInterruptionIsNoOutage(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		log, lines := observer.New(zap.WarnLevel)
		ctx, cancel := context.WithCancel(t.Context())
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error {
			cancel()
			return pause(ctx, time.Minute)
		}
		_, err := provision.New(pool, w, provision.Config{Log: zap.New(log)}).Ensure(ctx, map[string]int{"student": 400})
		if !errors.Is(err, context.Canceled) || lines.FilterMessageSnippet("is down").Len() != 0 {
			t.Errorf("%v, and said: %v", err, lines.All())
		}
	})
}

// Accounts that are used up are replaced.
func TestKeeperReplacesWhatIsUsedUp(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 30})
		holder := register(t, pool)
		keep(t, p, provision.KeeperConfig{LowWater: 0.5, Max: 3000, Want: map[string]int{"student": 30}, Every: time.Second})
		if _, err := pool.Retire(t.Context(), "student", 28); err != nil {
			t.Fatal(err)
		}
		after(t, 5*time.Second)
		if have := known(t, pool)["student"]; have < 15 {
			t.Errorf("%d students, want half of 30", have)
		}
		if _, err := pool.Retire(t.Context(), "student", 100); err != nil {
			t.Fatal(err)
		}
		after(t, 5*time.Second)
		leaseAll(t, holder, "student", 5)
	})
}
