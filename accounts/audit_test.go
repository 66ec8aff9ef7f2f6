package accounts_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// planted is a pool with accounts in every place, to do damage to.
type planted struct {
	*testing.T
	rdb    redis.UniversalClient
	pool   *accounts.Pool
	holder string
	byName map[string]accounts.Listed
}

// in returns the id of an account in the state.
func (p *planted) in(state accounts.AccountState) string {
	p.Helper()
	for _, l := range p.byName {
		if l.State == state {
			return l.ID
		}
	}
	p.Fatalf("no account is %s", state)
	return ""
}

// free returns the id of an available student.
func (p *planted) free() string { return p.byName["student-free"].ID }

func (p *planted) did(changed int64, err error) {
	p.Helper()
	if changed == 0 || err != nil {
		p.Fatalf("nothing was damaged: %d, %v", changed, err)
	}
}

func plant(t *testing.T, rdb redis.UniversalClient, namespace string) *planted {
	t.Helper()
	ctx := t.Context()
	p := newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: time.Hour})
	h, err := p.Register(ctx, "audited")
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, h)
	fill(t, p, "proctor", 2)
	fill(t, p, "student", 4)
	for range 3 {
		h.Release(lease(t, h, "student"), accounts.Refused("locked"))
	}
	eventually(t, "three are quarantined", func() bool { s, err := p.Stats(ctx); return err == nil && s[1].Quarantined == 3 })
	lease(t, h, "student")
	lease(t, h, "proctor")
	if n, err := p.RetireQuarantined(ctx, 2); n != 2 || err != nil {
		t.Fatalf("retire: got %d, %v", n, err)
	}
	if _, err := p.Import(ctx, []accounts.Account{person("student-free", "student"), person("student-too", "student")}); err != nil {
		t.Fatal(err)
	}
	audit(t, p)
	// The holder goes away without a word, and holds on.
	id := h.ID()
	_ = stop
	return &planted{T: t, rdb: rdb, pool: p, holder: id, byName: list(t, p, accounts.Filter{})}
}

// Whatever is wrong with a pool, the audit finds it.
func TestAuditFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, test := range []struct {
		name   string
		damage func(p *planted)
		want   []string
	}{
		{"lost from available", func(p *planted) {
			p.did(p.rdb.ZRem(ctx, p.pool.Key("av", "student"), p.free()).Result())
		}, []string{"8 accounts are known, and 7 are in some place", "account FREE is nowhere"}},
		{"lost from a holder", func(p *planted) {
			p.did(p.rdb.HDel(ctx, p.pool.Key("held", p.holder), p.in(accounts.StateLeased)).Result())
		}, []string{"1 accounts are leased, and 2 are counted so", "is nowhere"}},
		{"held by nobody who is registered", func(p *planted) {
			p.did(p.rdb.ZRem(ctx, p.pool.Key("av", "student"), p.free()).Result())
			p.did(p.rdb.HSet(ctx, p.pool.Key("held", "a-ghost"), p.free(), "1 student").Result())
		}, []string{"account FREE is nowhere"}},
		{"available and held", func(p *planted) {
			p.did(p.rdb.ZAdd(ctx, p.pool.Key("av", "student"), redis.Z{Score: 1, Member: p.byName["student-3"].ID}).Result())
		}, []string{"is in 2 places: available as student, held by HOLDER"}},
		{"available and retired, another lost", func(p *planted) {
			p.did(p.rdb.HSet(ctx, p.pool.Key("retired"), p.free(), "student").Result())
			p.did(p.rdb.ZRem(ctx, p.pool.Key("av", "student"), p.byName["student-too"].ID).Result())
		}, []string{"account FREE is in 2 places: available as student, retired as student", "is nowhere", "3 accounts are retired, and 2"}},
		{"available twice", func(p *planted) {
			p.did(p.rdb.ZAdd(ctx, p.pool.Key("av", "proctor"), redis.Z{Score: 1, Member: p.free()}).Result())
		}, []string{"account FREE is in 2 places: available as proctor, available as student", `account FREE has the role "student"`}},
		{"available with another role", func(p *planted) {
			p.did(p.rdb.ZRem(ctx, p.pool.Key("av", "student"), p.free()).Result())
			p.did(p.rdb.ZAdd(ctx, p.pool.Key("av", "proctor"), redis.Z{Score: 1, Member: p.free()}).Result())
		}, []string{`account FREE has the role "student", and is available as proctor with the role "proctor"`}},
		{"held with another role", func(p *planted) {
			key, id := p.pool.Key("held", p.holder), p.byName["student-3"].ID
			if err := p.rdb.HSet(ctx, key, id, "1 proctor").Err(); err != nil {
				p.Fatal(err)
			}
		}, []string{`has the role "student", and is held by HOLDER with the role "proctor"`}},
		{"retired with another role", func(p *planted) {
			if err := p.rdb.HSet(ctx, p.pool.Key("retired"), p.in(accounts.StateRetired), "proctor").Err(); err != nil {
				p.Fatal(err)
			}
		}, []string{`has the role "student", and is retired as proctor`}},
		{"no record", func(p *planted) {
			p.did(p.rdb.HDel(ctx, p.pool.Key("rec"), p.free()).Result())
		}, []string{"account FREE has no record, and is available as student", `username "student-free" leads to account FREE, which has no record`, "7 accounts are known, by 8 usernames"}},
		{"no record of what is held", func(p *planted) {
			p.did(p.rdb.HDel(ctx, p.pool.Key("rec"), p.byName["student-3"].ID).Result())
		}, []string{"has no record, and is held by HOLDER"}},
		{"a stranger", func(p *planted) {
			p.did(p.rdb.ZAdd(ctx, p.pool.Key("quar"), redis.Z{Score: 1, Member: "4711"}).Result())
		}, []string{"account 4711 has no record, and is quarantined", "for 1 reasons"}},
		{"an unreadable record", func(p *planted) {
			if err := p.rdb.HSet(ctx, p.pool.Key("rec"), p.free(), "\x01hunter2").Err(); err != nil {
				p.Fatal(err)
			}
		}, []string{"account FREE: the record is not readable"}},
		{"counted as leased", func(p *planted) {
			p.did(p.rdb.HIncrBy(ctx, p.pool.Key("n", "student"), "leased", 1).Result())
		}, []string{"2 accounts are leased, and 3 are counted so", `role "student": 2 accounts are counted as leased, and 1 by holder`}},
		{"counted as leased, of another role", func(p *planted) {
			p.did(p.rdb.HIncrBy(ctx, p.pool.Key("n", "student"), "leased", 1).Result())
			if err := p.rdb.HIncrBy(ctx, p.pool.Key("n", "proctor"), "leased", -1).Err(); err != nil {
				p.Fatal(err)
			}
		}, []string{`role "student": 2 accounts are counted as leased, and 1 by holder`, `role "proctor": 0`}},
		{"counted as quarantined", func(p *planted) {
			p.did(p.rdb.HIncrBy(ctx, p.pool.Key("n", "student"), "quarantined", 5).Result())
		}, []string{"1 accounts are quarantined, and 6 are counted so"}},
		{"counted as retired", func(p *planted) {
			p.did(p.rdb.HIncrBy(ctx, p.pool.Key("n", "student"), "retired", -1).Result())
		}, []string{"2 accounts are retired, and 1 are counted so"}},
		{"counted by holder", func(p *planted) {
			if err := p.rdb.ZAdd(ctx, p.pool.Key("by", "proctor"), redis.Z{Score: 9, Member: "x y"}).Err(); err != nil {
				p.Fatal(err)
			}
		}, []string{`role "proctor": 1 accounts are counted as leased, and 10 by holder`}},
		{"no username", func(p *planted) {
			p.did(p.rdb.HDel(ctx, p.pool.Key("idx"), "student-free").Result())
		}, []string{`username "student-free" does not lead to account FREE`, "8 accounts are known, by 7 usernames"}},
		{"a username too many", func(p *planted) {
			p.did(p.rdb.HSet(ctx, p.pool.Key("idx"), "alias", p.free()).Result())
		}, []string{`username "alias" leads to account FREE, which has another`}},
		{"usernames exchanged", func(p *planted) {
			if err := p.rdb.HSet(ctx, p.pool.Key("idx"), "student-free", p.byName["student-too"].ID, "student-too", p.free()).Err(); err != nil {
				p.Fatal(err)
			}
		}, []string{`username "student-too" leads to account FREE, which has another`, `username "student-free" does not lead to account FREE`}},
		{"no reason", func(p *planted) {
			p.did(p.rdb.HDel(ctx, p.pool.Key("quarwhy"), p.in(accounts.StateQuarantined)).Result())
		}, []string{"1 accounts are quarantined, for 0 reasons", "is quarantined without a reason"}},
		{"a reason too many", func(p *planted) {
			p.did(p.rdb.HSet(ctx, p.pool.Key("quarwhy"), p.free(), `1 {"reason":"x"}`).Result())
		}, []string{"account FREE has a reason to be quarantined, and is not"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rdb, namespace := redistest.Real(t)
			p := plant(t, rdb, namespace)
			test.damage(p)
			report, err := p.pool.Audit(ctx)
			if err != nil || report.Found == 0 || report.Found != len(report.Problems) {
				t.Fatalf("got %+v, %v", report, err)
			}
			all := strings.Join(report.Problems, "\n")
			for _, want := range test.want {
				want = strings.NewReplacer("FREE", p.free(), "HOLDER", p.holder).Replace(want)
				if !strings.Contains(all, want) {
					t.Errorf("it does not say %q, but\n%s", want, all)
				}
			}
			if strings.Contains(all, "hunter2") {
				t.Errorf("the report tells a password:\n%s", all)
			}
		})
	}
}

// Of many problems the report names the first hundred, and counts all.
func TestAuditReportsAreBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 500)
		if err := rdb.Del(t.Context(), p.Key("av", "student")).Err(); err != nil {
			t.Fatal(err)
		}
		report, err := p.Audit(t.Context())
		if err != nil || report.Found != 501 || len(report.Problems) != 100 || report.Accounts != 500 {
			t.Errorf("got %d of %d problems of %d accounts, %v; want 100 of 501 of 500", len(report.Problems), report.Found, report.Accounts, err)
		}
	})
}

// However a pool is used meanwhile, the audit finds nothing wrong with it.
func TestAuditOfAPoolInUse(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	p := newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: 500 * time.Millisecond, LockDelay: time.Millisecond})
	fill(t, p, "student", 500)
	fill(t, p, "proctor", 200)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var moves atomic.Int64
	var users sync.WaitGroup
	do := func(what string, act func(i int) error) {
		users.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := act(i); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				moves.Add(1)
			}
		})
	}
	some := func() (names []string) {
		for range 20 {
			names = append(names, fmt.Sprintf("student-%d", rand.N(500)), fmt.Sprintf("proctor-%d", rand.N(200)))
		}
		return names
	}
	for i := range 4 {
		role := []string{"student", "proctor"}[i%2]
		do("lease", func(i int) error {
			h, err := p.Register(ctx, "user")
			if err != nil {
				return err
			}
			running, end := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- h.Run(running) }()
			var all []*accounts.Lease
			for range 5 {
				got, err := h.LeaseAll(ctx, role, 30)
				if err != nil {
					break
				}
				all = append(all, got...)
				for j, l := range all[:len(all)/2] {
					h.Release(l, []accounts.Outcome{accounts.OK, accounts.OK, accounts.Refused("locked")}[j%3])
				}
				all = all[len(all)/2:]
			}
			end()
			return <-ended
		})
	}
	faults := &redistest.Faults{}
	cutOff := again(t, rdb, namespace, faults)
	do("die", func(int) error {
		h, err := cutOff.Register(ctx, "dies")
		if err != nil {
			return err
		}
		running, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- h.Run(running) }()
		_, err = h.LeaseAll(ctx, "student", 20)
		fault := faults.Refuse(0, redistest.Any)
		defer fault.Lift()
		end()
		<-ended // without having said so
		return err
	})
	do("quarantine", func(int) error { _, err := p.Quarantine(ctx, some(), "x", time.Millisecond); return err })
	do("restore", func(int) error { _, err := p.Restore(ctx, some()); return err })
	reclaimer := accounts.NewReclaimer(p)
	users.Go(func() { _ = reclaimer.Run(ctx) })
	do("replace", func(i int) error {
		a := []accounts.Account{person(fmt.Sprintf("new-%d", i), "student")}
		if _, err := p.Intend(ctx, a); err != nil {
			return err
		}
		if _, err := p.Confirm(ctx, a); err != nil {
			return err
		}
		if _, err := p.RetireAccounts(ctx, []string{a[0].Username}); err != nil {
			return err
		}
		all, err := p.Retired(ctx, 10)
		if err != nil {
			return err
		}
		var ids []string
		for _, a := range all {
			ids = append(ids, a.ID)
		}
		return p.Forget(ctx, ids)
	})
	for audits, until := 0, time.Now().Add(1500*time.Millisecond); audits < 3 || time.Now().Before(until); audits++ {
		report, err := p.Audit(context.Background())
		if err != nil || report.Found > 0 {
			t.Fatalf("audit %d: %d problems: %q, %v", audits, report.Found, report.Problems, err)
		}
	}
	eventually(t, "a dead holder's accounts are reclaimed", func() bool {
		s, err := p.Stats(context.Background())
		return err == nil && s[0].Reclaimed+s[1].Reclaimed > 0
	})
	stop()
	users.Wait()
	audit(t, p)
	if moves.Load() < 50 {
		t.Errorf("only %d moves", moves.Load())
	}
}
