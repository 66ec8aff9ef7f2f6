package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func person(name, role string) accounts.Account {
	return accounts.Account{Username: name, Role: role, Password: accounts.NewSecret("hunter2-" + name)}
}

func people(role string, n int) []accounts.Account {
	all := make([]accounts.Account, n)
	for i := range all {
		all[i] = person(fmt.Sprintf("%s-%d", role, i), role)
	}
	return all
}

// list returns all accounts that the filter lets through, by username.
func list(t testing.TB, p *accounts.Pool, filter accounts.Filter) map[string]accounts.Listed {
	t.Helper()
	all := map[string]accounts.Listed{}
	err := p.List(context.Background(), filter, func(l accounts.Listed) error {
		if _, again := all[l.Username]; again {
			t.Errorf("%q is listed twice", l.Username)
		}
		all[l.Username] = l
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImport(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		all := append(people("student", 700), people("proctor", 3)...)
		all[0].Attributes = map[string]string{"group": "7"}
		all[1].TargetID = "id-1"
		all[2].Created, all[2].Key, all[2].ID = true, "a key", "999"
		all = append(all, all[5]) // as it is, again
		for _, want := range []accounts.ImportResult{{Added: 703, Existed: 1}, {Existed: 704}} {
			if got, err := p.Import(ctx, all); err != nil || got != want {
				t.Fatalf("import: got %+v, %v; want %+v", got, err, want)
			}
		}
		got := list(t, p, accounts.Filter{})
		if len(got) != 703 {
			t.Fatalf("%d accounts; want 703", len(got))
		}
		for _, want := range all {
			l := got[want.Username]
			if !l.Password.Equal(want.Password) || l.Role != want.Role || !maps.Equal(l.Attributes, want.Attributes) || l.TargetID != want.TargetID {
				t.Errorf("imported %+v; want %+v", l, want)
			}
			if l.Created || l.Key != "" || l.State != accounts.StateAvailable {
				t.Errorf("%q has a receipt, or a key, or is not available: %+v", l.Username, l)
			}
		}
		if s, err := p.Stats(ctx); err != nil || s[1].Available != 700 || s[1].Created != 0 {
			t.Errorf("stats: got %+v, %v", s, err)
		}
		// What the pool knows of the target is no contradiction.
		if got, err := p.Import(ctx, []accounts.Account{person("student-1", "student")}); err != nil || got.Existed != 1 {
			t.Errorf("import without the target's id: got %+v, %v", got, err)
		}
		h, _ := register(t, p)
		lease(t, h, "proctor")
		audit(t, p)
	})
}

func TestImportsThatCannotBe(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		if _, err := p.Import(ctx, people("student", 30)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Intend(ctx, []accounts.Account{person("intended", "student")}); err != nil {
			t.Fatal(err)
		}
		with := func(change func(*accounts.Account)) []accounts.Account {
			a := person("student-3", "student")
			change(&a)
			return []accounts.Account{person("new", "student"), person("student-4", "student"), a}
		}
		var many, roles []accounts.Account
		for i := range 30 {
			many = append(many, person(fmt.Sprintf("student-%d", i), "proctor"))
		}
		for i := range 64 {
			roles = append(roles, person(fmt.Sprintf("r-%d", i), fmt.Sprintf("role-%d", i)))
		}
		for _, test := range []struct {
			name  string
			all   []accounts.Account
			is    error
			knows []string
			want  string
		}{
			{name: "another password", all: with(func(a *accounts.Account) { a.Password = accounts.NewSecret("hunter2") }), is: accounts.ErrKnown, knows: []string{"student-3"}},
			{name: "another role", all: with(func(a *accounts.Account) { a.Role = "proctor" }), is: accounts.ErrKnown, knows: []string{"student-3"}},
			{name: "other attributes", all: with(func(a *accounts.Account) { a.Attributes = map[string]string{"a": "b"} }), is: accounts.ErrKnown, knows: []string{"student-3"}},
			{name: "another id", all: with(func(a *accounts.Account) { a.TargetID = "x" }), is: accounts.ErrKnown, knows: []string{"student-3"}},
			{name: "about to be created", all: []accounts.Account{person("intended", "student"), person("new", "student")}, is: accounts.ErrKnown, knows: []string{"intended"}},
			{name: "many", all: many, is: accounts.ErrKnown, knows: names(many), want: `"student-9" and 20 more with other content`},
			{name: "twice", all: append(with(func(a *accounts.Account) { a.Username = "new" }), person("new", "proctor")), want: `"new" is given twice`},
			{name: "unfit", all: append(with(func(*accounts.Account) {}), person("", "student"), person("x", "stu dent")), want: "no username"},
			{name: "roles", all: roles, is: accounts.ErrRoles, want: "there would be 65; use at most 64"},
		} {
			t.Run(test.name, func(t *testing.T) {
				got, err := p.Import(ctx, test.all)
				if err == nil || got.Added != 0 || (test.is != nil && !errors.Is(err, test.is)) || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %+v, %v; want %v, %q", got, err, test.is, test.want)
				}
				var known *accounts.KnownError
				if errors.As(err, &known) != (test.knows != nil) || known != nil && !slices.Equal(known.Usernames, test.knows) {
					t.Errorf("got %+v; want a KnownError of %q", known, test.knows)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the error tells a password: %v", err)
				}
				if n := len(list(t, p, accounts.Filter{})); n != 30 {
					t.Errorf("%d accounts; want the 30 that there were", n)
				}
			})
		}
		audit(t, p)
	})
}

// An import that breaks off anywhere is completed by the next one.
func TestImportAfterACrash(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	newPool(t, rdb, namespace, accounts.Settings{})
	all := append(people("student", 600), people("proctor", 300)...)
	added := 0
	for calls := range 5 {
		faults := &redistest.Faults{}
		p := again(t, rdb, namespace, faults)
		n := 0
		lose := faults.LoseReplies(0, func(cmd redis.Cmder) bool {
			if !redistest.Runs(accounts.ImportScript())(cmd) {
				return false
			}
			n++
			return n > calls
		})
		got, err := p.Import(t.Context(), all)
		if lose.Hits() > 0 && err == nil {
			t.Fatalf("after %d calls: no error", calls)
		}
		added += got.Added
	}
	p := again(t, rdb, namespace, nil)
	got, err := p.Import(t.Context(), all)
	if err != nil || got.Added+got.Existed != 900 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if n := len(list(t, p, accounts.Filter{})); n != 900 || added+got.Added > 900 {
		t.Errorf("%d accounts, %d said to be added; want 900", n, added+got.Added)
	}
	audit(t, p)
}

// Several processes import the same accounts, and create some of them, at the
// same time: each is there once.
func TestImportsAtTheSameTime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		all := append(people("student", 400), people("proctor", 50)...)
		var wg sync.WaitGroup
		var added atomic.Int64
		for range 4 {
			wg.Go(func() {
				got, err := p.Import(t.Context(), all)
				if err != nil || got.Added+got.Existed != len(all) {
					t.Errorf("import: got %+v, %v", got, err)
				}
				added.Add(int64(got.Added))
			})
		}
		wg.Wait()
		if n := len(list(t, p, accounts.Filter{})); n != 450 || added.Load() != 450 {
			t.Errorf("%d accounts, %d added; want 450", n, added.Load())
		}
		audit(t, p)
	})
}

// Once Redis may have lost the last ids that it gave, new ones are ahead of all
// that were ever given.
func TestIdsAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 3)
		add := []func(name string){
			func(name string) { fill(t, p, name, 2) },
			func(name string) {
				if _, err := p.Import(ctx, people(name, 2)); err != nil {
					t.Fatal(err)
				}
			},
		}
		ids := map[string]bool{}
		for i, add := range add {
			if err := rdb.HSet(ctx, p.Generation(), "frozen", "1").Err(); err != nil { // long ago
				t.Fatal(err)
			}
			add("a" + strconv.Itoa(i))
			if err := rdb.Set(ctx, p.Key("ids"), "1", 0).Err(); err != nil { // lost
				t.Fatal(err)
			}
			add("b" + strconv.Itoa(i))
		}
		for _, l := range list(t, p, accounts.Filter{}) {
			ids[l.ID] = true
			if n, err := strconv.ParseInt(l.ID, 10, 64); err != nil || n > 3 && n < 1e15 {
				t.Errorf("%q has the id %s", l.Username, l.ID)
			}
		}
		if len(ids) != 11 {
			t.Errorf("%d ids of 11 accounts", len(ids))
		}
		audit(t, p)
	})
}
