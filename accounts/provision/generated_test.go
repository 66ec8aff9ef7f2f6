package provision_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

func TestUsernamesFollowTheirPattern(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ pattern, want string }{
		"none":            {"", `^student-[0-9a-f]{12}$`},
		"role and random": {"load/{role}+{random}@example.com", `^load/student\+[0-9a-f]{12}@example\.com$`},
		"random twice":    {"{random}.{random}", `^([0-9a-f]{12})\.[0-9a-f]{12}$`},
		"other braces":    {"{Role}{{random}}", `^\{Role\}\{[0-9a-f]{12}\}$`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, namespace := redistest.Embedded(t)
			pool := newPool(t, rdb, namespace)
			p := provision.New(pool, provision.Generated{}, provision.Config{Username: test.pattern})
			mustEnsure(t, p, map[string]int{"student": 20})
			n := 0
			err := pool.List(t.Context(), accounts.Filter{}, func(a accounts.Listed) error {
				n++
				if !regexp.MustCompile(test.want).MatchString(a.Username) {
					t.Errorf("username %q; want one like %s", a.Username, test.want)
				}
				return nil
			})
			if err != nil || n != 20 {
				t.Errorf("%d accounts, %v; want 20", n, err)
			}
		})
	}
}

// The target needs not be told, so there is nothing that could go wrong.
func TestGeneratedAccountsAreAlwaysGood(t *testing.T) {
	t.Parallel()
	ann := accounts.Account{Username: "ann", Password: accounts.NewSecret("hunter2"), Role: "student"}
	source := provision.Generated{}
	receipt, err := source.Create(t.Context(), ann)
	if err = errors.Join(err, source.Verify(t.Context(), ann), source.Delete(t.Context(), ann)); err != nil || receipt != (provision.Receipt{}) {
		t.Errorf("%+v, %v", receipt, err)
	}
}
