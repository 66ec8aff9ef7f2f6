package provision_test

import (
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// A whole pool is created, found again, verified and deleted; what others have
// in the table stays.
func TestPostgresFillsAPool(t *testing.T) {
	t.Parallel()
	const students, proctors = 9_700, 300
	cfg, db := newUsers(t, "INSERT INTO users (username, password, role) VALUES ('student-000000000000', 'theirs', 'student')")
	rdb, namespace := redistest.Real(t)
	pool := newPool(t, rdb, namespace)
	source := openPostgres(t, cfg)
	p := provision.New(pool, source, provision.Config{})
	want := map[string]int{"student": students, "proctor": proctors}
	if got := mustEnsure(t, p, want); got.Created != students+proctors {
		t.Errorf("first: %+v", got)
	}
	if got := mustEnsure(t, p, want); got.Created != 0 {
		t.Errorf("again: %+v", got)
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != students+proctors+1 {
		t.Errorf("%d rows, want %d", n, students+proctors+1)
	}

	var some []accounts.Account
	err := pool.List(t.Context(), accounts.Filter{Role: "proctor"}, func(a accounts.Listed) error {
		if a.TargetID == "" || !a.Created {
			t.Errorf("%s has no receipt: %+v", a.Username, a)
		}
		some = append(some, a.Account)
		return nil
	})
	if err != nil || len(some) != proctors {
		t.Fatalf("%d proctors, %v", len(some), err)
	}
	outcomes, err := source.VerifyAll(t.Context(), some)
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range outcomes {
		if err != nil {
			t.Errorf("%s: %v", some[i].Username, err)
		}
	}

	if result, err := p.DeleteAll(t.Context()); err != nil || result.Deleted != students+proctors {
		t.Errorf("delete: %+v, %v", result, err)
	}
	if left := one[string](t, db, "SELECT string_agg(username || ' ' || password, ', ') FROM users"); left != "student-000000000000 theirs" {
		t.Errorf("left are %s", left)
	}
}
