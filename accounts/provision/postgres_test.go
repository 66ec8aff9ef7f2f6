package provision_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

var (
	_ provision.Bulk    = (*provision.Postgres)(nil)
	_ provision.Counter = (*provision.Postgres)(nil)
)

func TestPostgresLifeOfAccounts(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	p := openPostgres(t, cfg)
	list := people("our", 700)
	list[3].Attributes = map[string]string{"class": "7b", "elsewhere": "x"}
	list[4].Role = "proctor"

	created := mustCreate(t, p, list)
	ids := map[string]bool{}
	for i, o := range created {
		ids[o.TargetID] = true
		list[i].TargetID = o.TargetID
	}
	if len(ids) != len(list) || ids[""] {
		t.Errorf("%d ids for %d accounts", len(ids), len(list))
	}
	if n, err := p.Count(t.Context()); n != 700 || err != nil {
		t.Errorf("count: %d, %v", n, err)
	}
	rows, _ := db.Query(t.Context(), `SELECT id::text || ' ' || username || ' ' || password || ' ' || role || ' ' || COALESCE(class, 'NULL')
		FROM users WHERE username IN ('student-00003', 'student-00004') ORDER BY username`)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		list[3].TargetID + " student-00003 our-secret-00003 student 7b",
		list[4].TargetID + " student-00004 our-secret-00004 proctor NULL",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the table has %q, want %q", got, want)
	}

	if again := mustCreate(t, p, list); fmt.Sprint(again) != fmt.Sprint(created) {
		t.Errorf("created again, they have other receipts")
	}
	outcomes, err := p.VerifyAll(t.Context(), list)
	if err != nil || len(outcomes) != len(list) || errors.Join(outcomes...) != nil {
		t.Errorf("verify: %v, %v", outcomes, err)
	}

	if err := deletion(p.DeleteAll(t.Context(), list[:699])); err != nil {
		t.Fatal(err)
	}
	if err := deletion(p.DeleteAll(t.Context(), list[:699])); err != nil {
		t.Errorf("deleted again: %v", err)
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 1 {
		t.Errorf("%d rows are left, want 1", n)
	}
	if outcomes, err = p.VerifyAll(t.Context(), list[698:]); err != nil || !errors.Is(outcomes[0], provision.ErrMissing) || outcomes[1] != nil {
		t.Errorf("verify: %v, %v; want ErrMissing and nil", outcomes, err)
	}
}

func TestPostgresOneAtATime(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	p := openPostgres(t, cfg)
	ann := person("ann", "hunter2")
	receipt, err := p.Create(t.Context(), ann)
	if err != nil || receipt.TargetID != one[string](t, db, "SELECT id::text FROM users") {
		t.Errorf("create: %+v, %v", receipt, err)
	}
	if again, err := p.Create(t.Context(), ann); err != nil || again != receipt {
		t.Errorf("again: %+v, %v", again, err)
	}
	if err := p.Verify(t.Context(), ann); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := p.Delete(t.Context(), ann); err != nil {
		t.Errorf("delete: %v", err)
	}
	checkLine(t, p.Verify(t.Context(), ann), []accounts.Account{ann}, cfg, `database "test_`, `table "public"."users"`)
	if err := p.Verify(t.Context(), ann); !errors.Is(err, provision.ErrMissing) {
		t.Errorf("verify: %v, want ErrMissing", err)
	}
}

func TestPostgresEmptyLists(t *testing.T) {
	t.Parallel()
	cfg, _ := newUsers(t)
	p := openPostgres(t, cfg)
	if outcomes, err := p.CreateAll(t.Context(), nil); len(outcomes) != 0 || err != nil {
		t.Errorf("create: %v, %v", outcomes, err)
	}
	if outcomes, err := p.VerifyAll(t.Context(), nil); len(outcomes) != 0 || err != nil {
		t.Errorf("verify: %v, %v", outcomes, err)
	}
	if err := deletion(p.DeleteAll(t.Context(), nil)); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// What is somebody else's is neither changed nor deleted, and does not keep the
// rest of a batch from being created.
func TestPostgresLeavesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t, "INSERT INTO users (username, password) VALUES ('student-00001', 'theirs')")
	p := openPostgres(t, cfg)
	list := people("our", 3)
	outcomes, err := p.CreateAll(t.Context(), list)
	if err != nil || outcomes[0].Err != nil || outcomes[2].Err != nil {
		t.Fatalf("%v, %v", outcomes, err)
	}
	if !errors.Is(outcomes[1].Err, provision.ErrTaken) || outcomes[1].TargetID != "" {
		t.Errorf("%+v, want ErrTaken", outcomes[1])
	}
	checkLine(t, outcomes[1].Err, list, cfg, "another password")
	if err := p.Verify(t.Context(), list[1]); !errors.Is(err, provision.ErrRefused) || errors.Is(err, provision.ErrMissing) {
		t.Errorf("verify: %v, want ErrRefused", err)
	}

	// A row that looks like one of ours, even with its password, has another id.
	mustExec(t, db, "DELETE FROM users WHERE username = 'student-00002'")
	mustExec(t, db, "INSERT INTO users (username, password) VALUES ('student-00002', 'our-secret-00002')")
	for i, o := range outcomes {
		list[i].TargetID = o.TargetID
	}
	if err := deletion(p.DeleteAll(t.Context(), list)); !errors.Is(err, provision.ErrTaken) {
		t.Fatal(err)
	}
	rows, _ := db.Query(t.Context(), "SELECT username || ' ' || password FROM users ORDER BY username")
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := "[student-00001 theirs student-00002 our-secret-00002]"; err != nil || fmt.Sprint(left) != want {
		t.Errorf("left are %v, %v; want %s", left, err, want)
	}
}

func TestPostgresKeepsAnyText(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	p := openPostgres(t, cfg)
	var list []accounts.Account
	for i, text := range []string{`'; DROP TABLE users; --`, `"`, `\.`, `\N`, "a\tb\nc\r\n", "NULL", "", " ", "pässwörd 🔒", "${HOME} $1 {}", strings.Repeat("x", 5000)} {
		a := person(fmt.Sprintf("%d%.50s", i, text), text)
		a.Attributes = map[string]string{"class": text}
		list = append(list, a)
	}
	mustCreate(t, p, list)
	for _, a := range list {
		got := one[string](t, db, "SELECT password || '|' || class FROM users WHERE username = $1", a.Username)
		if want := a.Password.Reveal() + "|" + a.Attributes["class"]; got != want {
			t.Errorf("%q: the table has %q, want %q", a.Username, got, want)
		}
	}
	outcomes, err := p.VerifyAll(t.Context(), list)
	if err = errors.Join(append(outcomes, err, deletion(p.DeleteAll(t.Context(), list)))...); err != nil {
		t.Error(err)
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestPostgresCreatesOnceWhateverTheRace(t *testing.T) {
	t.Parallel()
	const writers, size = 8, 200
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same passwords %v", same), func(t *testing.T) {
			t.Parallel()
			cfg, db := newUsers(t)
			all := make([][]provision.Outcome, writers)
			var crew sync.WaitGroup
			for w := range writers {
				p := openPostgres(t, cfg) // as another process has
				list := people("our", size)
				if !same {
					list = people(fmt.Sprintf("writer%d", w), size)
				}
				if w%2 == 1 { // in another order
					for i, j := 0, size-1; i < j; i, j = i+1, j-1 {
						list[i], list[j] = list[j], list[i]
					}
				}
				crew.Go(func() {
					outcomes, err := p.CreateAll(t.Context(), list)
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
					if w%2 == 1 {
						for i, j := 0, size-1; i < j; i, j = i+1, j-1 {
							outcomes[i], outcomes[j] = outcomes[j], outcomes[i]
						}
					}
					all[w] = outcomes
				})
			}
			crew.Wait()
			if t.Failed() {
				return
			}
			if n := one[int](t, db, "SELECT count(*) FROM users"); n != size {
				t.Errorf("%d rows, want %d", n, size)
			}
			for i := range size {
				ids, wins := map[string]bool{}, 0
				for w := range writers {
					switch o := all[w][i]; {
					case o.Err == nil:
						wins++
						ids[o.TargetID] = true
					case same || !errors.Is(o.Err, provision.ErrTaken):
						t.Errorf("writer %d, account %d: %v", w, i, o.Err)
					}
				}
				if want := map[bool]int{true: writers, false: 1}[same]; wins != want || len(ids) != 1 {
					t.Errorf("account %d: %d have it, by %d ids; want %d by 1", i, wins, len(ids), want)
				}
			}
		})
	}
}

func TestPostgresLimitsItsConnections(t *testing.T) {
	t.Parallel()
	cfg, _ := newUsers(t)
	way := new(gate)
	cfg.Dial, cfg.Concurrency = way.Dial, 2
	p := openPostgres(t, cfg)
	var crew sync.WaitGroup
	for i := range 12 {
		crew.Go(func() {
			if _, err := p.Create(t.Context(), person(fmt.Sprint(i), "x")); err != nil {
				t.Error(err)
			}
		})
	}
	crew.Wait()
	way.mu.Lock()
	defer way.mu.Unlock()
	if way.top != 2 {
		t.Errorf("%d connections at a time, want 2", way.top)
	}
}
