package accounts_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// keyText is the base64 of a key of 32 times the byte.
func keyText(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

func keyring(t testing.TB, text string) *accounts.Keyring {
	t.Helper()
	k, err := accounts.ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open opens the pool with these keys.
func open(t testing.TB, rdb redis.UniversalClient, namespace, keys string) (*accounts.Pool, error) {
	t.Helper()
	return accounts.Open(context.Background(), accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool", Keys: keyring(t, keys)})
}

func mustOpen(t testing.TB, rdb redis.UniversalClient, namespace, keys string) *accounts.Pool {
	t.Helper()
	p, err := open(t, rdb, namespace, keys)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseKeyring(t *testing.T) {
	t.Parallel()
	a, b := keyText('a'), keyText('b')
	for text, want := range map[string][]string{
		"":                                nil,
		" \n":                             nil,
		"new:" + a:                        {"new"},
		"new:" + a + ",old-1:" + b:        {"new", "old-1"},
		" new:" + a + " , old:" + b + " ": {"new", "old"},
		a:                                 {"3ba3f5f4"}, // from its SHA-256
		strings.TrimRight(a, "="):         {"3ba3f5f4"},
	} {
		k, err := accounts.ParseKeyring(text)
		if err != nil || !slices.Equal(k.IDs(), want) || (k == nil) != (want == nil) {
			t.Errorf("%q: got %v, %v; want %v", text, k.IDs(), err, want)
		}
	}
}

func TestKeyringsThatCannotBe(t *testing.T) {
	t.Parallel()
	a, b := keyText('a'), keyText('b')
	for _, test := range []struct{ name, text, want string }{
		{"not base64", "new:" + a[:20] + "!" + a[20:], "key 1 of 1: it is not base64"},
		{"too short", "new:" + a + ",old:" + base64.StdEncoding.EncodeToString([]byte("short one")), "key 2 of 2: it is the base64 of 9 bytes; use 32"},
		{"no id", ":" + a, "key 1 of 1: its id is not"},
		{"long id", strings.Repeat("x", 17) + ":" + a, "its id is not 1 to 16"},
		{"capitals", "New:" + a, "its id is not"},
		{"the wrong way round", a + ":" + a, "its id is not"},
		{"twice", "new:" + a + ",new:" + b, `another one has the id "new"`},
		{"a comma too many", "new:" + a + ",", "key 2 of 2: it is the base64 of 0 bytes"},
		{"many", strings.Repeat(a+",", 16) + b, "there are 17; use at most 16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k, err := accounts.ParseKeyring(test.text)
			if err == nil || k != nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want %q", k, err, test.want)
			}
			for _, secret := range []string{a[:12], b[:12], "short one"} {
				if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error shows a key, or takes two lines: %v", err)
				}
			}
		})
	}
}

func FuzzParseKeyring(f *testing.F) {
	f.Add("new:" + keyText('a') + ",old:" + keyText('b'))
	f.Add(keyText('a'))
	f.Add(":,:")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := accounts.ParseKeyring(text); err == nil && (k == nil) != (strings.TrimSpace(text) == "") {
			t.Errorf("%q: got %v", text, k)
		}
	})
}

func TestGeneratedKeysDiffer(t *testing.T) {
	t.Parallel()
	a, b := accounts.GenerateKey(), accounts.GenerateKey()
	if got := keyring(t, a+","+b).IDs(); len(got) != 2 {
		t.Fatalf("got %v", got)
	}
}

func TestEncryptedPool(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		first, second := "first:"+keyText('a'), "second:"+keyText('b')
		p, err := accounts.Create(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool", Keys: keyring(t, first)}, accounts.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		// Also while it is empty: nobody is to write in the clear.
		for _, keys := range []string{"", second} {
			p, err := open(t, rdb, namespace, keys)
			if !errors.Is(err, accounts.ErrKey) || p != nil {
				t.Fatalf("open with %q: got %v, want ErrKey", keys, err)
			}
			if !strings.Contains(err.Error(), `"first"`) || !strings.Contains(err.Error(), "THRONG_ACCOUNTS_KEY") {
				t.Errorf("the error does not say what to do: %v", err)
			}
			if _, err := accounts.Create(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool", Keys: keyring(t, keys)}, accounts.Settings{}); !errors.Is(err, accounts.ErrKey) {
				t.Errorf("create with %q: got %v, want ErrKey", keys, err)
			}
		}
		fill(t, p, "student", 3)
		if _, err := p.Intend(ctx, []accounts.Account{{Username: "new", Role: "student", Password: accounts.NewSecret("hunter2-new")}}); err != nil {
			t.Fatal(err)
		}
		if text := dump(t, rdb, namespace); strings.Contains(text, "hunter2") || !strings.Contains(text, "student-0") {
			t.Errorf("Redis has a password in the clear, or no username: %q", text)
		}
		h, _ := register(t, mustOpen(t, rdb, namespace, second+","+first))
		l := lease(t, h, "student")
		if l.Password.Reveal() != "hunter2-"+l.Username {
			t.Errorf("leased %q with another password", l.Username)
		}
		intents, err := p.Intents(ctx, 10)
		if err != nil || len(intents) != 1 || intents[0].Password.Reveal() != "hunter2-new" {
			t.Errorf("intents: got %v, %v", intents, err)
		}
		audit(t, p)
	})
}

// Somebody who has had the pool open since before it was encrypted has no key:
// he can neither write passwords in the clear nor take accounts out of use
// because he cannot read them.
func TestWhoLacksTheKey(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		plain := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, plain, "student", 2)
		p := mustOpen(t, rdb, namespace, "k:"+keyText('a'))
		if n, err := p.Rekey(ctx); n != 2 || err != nil {
			t.Fatalf("rekey: got %d, %v; want 2", n, err)
		}
		a := accounts.Account{Username: "new", Role: "student", Password: accounts.NewSecret("hunter2")}
		if _, err := plain.Intend(ctx, []accounts.Account{a}); !errors.Is(err, accounts.ErrKey) {
			t.Errorf("intend: got %v, want ErrKey", err)
		}
		if _, err := plain.Import(ctx, []accounts.Account{a}); !errors.Is(err, accounts.ErrKey) {
			t.Errorf("import: got %v, want ErrKey", err)
		}
		if _, err := plain.Rekey(ctx); !errors.Is(err, accounts.ErrKey) {
			t.Errorf("rekey: got %v, want ErrKey", err)
		}
		if err := plain.List(ctx, accounts.Filter{}, func(accounts.Listed) error { return nil }); !errors.Is(err, accounts.ErrKey) {
			t.Errorf("list: got %v, want ErrKey", err)
		}
		if _, err := plain.Audit(ctx); !errors.Is(err, accounts.ErrKey) {
			t.Errorf("audit: got %v, want ErrKey", err)
		}

		h, err := plain.Register(ctx, "no key")
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- h.Run(running) }()
		waiting, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if l, err := h.Lease(waiting, "student"); err == nil {
			t.Errorf("leased %q without the key", l.Username)
		}
		stop()
		<-ended
		if s := stats(t, p); s.Quarantined != 0 || s.Available != 2 {
			t.Errorf("accounts were not given back as they were: %+v", s)
		}
	})
}

func TestRekey(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		older, newer := "older:"+keyText('a'), "newer:"+keyText('b')
		fill(t, newPool(t, rdb, namespace, accounts.Settings{}), "student", 600)
		p := mustOpen(t, rdb, namespace, older)
		if _, err := p.Intend(ctx, []accounts.Account{{Username: "new", Role: "student", Password: accounts.NewSecret("hunter2-new")}}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			keys string
			want int
		}{
			{older, 600}, {older, 0}, {newer + "," + older, 601}, {newer + "," + older, 0}, {newer, 0},
		} {
			if n, err := mustOpen(t, rdb, namespace, step.keys).Rekey(ctx); n != step.want || err != nil {
				t.Fatalf("rekey: got %d, %v; want %d", n, err, step.want)
			}
			if strings.Contains(dump(t, rdb, namespace), "hunter2") {
				t.Fatal("Redis still has a password in the clear")
			}
		}
		if _, err := open(t, rdb, namespace, older); !errors.Is(err, accounts.ErrKey) {
			t.Errorf("open with the key that was replaced: got %v, want ErrKey", err)
		}
		n := 0
		err := mustOpen(t, rdb, namespace, newer).List(ctx, accounts.Filter{}, func(l accounts.Listed) error {
			if n++; l.Password.Reveal() != "hunter2-"+l.Username {
				return fmt.Errorf("%q has another password", l.Username)
			}
			return nil
		})
		if err != nil || n != 600 {
			t.Fatalf("list: got %d, %v", n, err)
		}
	})
}

// Keys change while accounts are created and leased, and nobody notices.
func TestRekeyOfAPoolInUse(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	ctx := t.Context()
	a, b := "a:"+keyText('a'), "b:"+keyText('b')
	p, err := accounts.Create(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool", Keys: keyring(t, a+","+b)}, accounts.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p, "student", 300)
	other := mustOpen(t, rdb, namespace, b+","+a)
	h, _ := register(t, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			if _, err := []*accounts.Pool{p, other}[i%2].Rekey(ctx); err != nil {
				t.Errorf("rekey: %v", err)
			}
		}
	}()
	created := 300
	for i, over := 0, false; !over; i++ {
		var all []accounts.Account
		for j := range 20 {
			all = append(all, accounts.Account{Username: fmt.Sprintf("more-%d-%d", i, j), Role: "student", Password: accounts.NewSecret(fmt.Sprintf("hunter2-more-%d-%d", i, j))})
		}
		if _, err := other.Intend(ctx, all); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Confirm(ctx, all); err != nil || n != 20 {
			t.Fatalf("confirm: got %d, %v; want 20", n, err)
		}
		created += 20
		l := lease(t, h, "student")
		if l.Password.Reveal() != "hunter2-"+l.Username {
			t.Fatalf("leased %q with another password", l.Username)
		}
		h.Release(l, accounts.OK)
		select {
		case <-done:
			over = true
		default:
		}
	}
	if _, err := p.Rekey(ctx); err != nil {
		t.Fatal(err)
	}
	audit(t, mustOpen(t, rdb, namespace, a))
	if s := stats(t, p); s.Known != int64(created) {
		t.Errorf("got %d accounts, want %d", s.Known, created)
	}
}

// dump returns everything that Redis has in the namespace.
func dump(t testing.TB, rdb redis.UniversalClient, namespace string) string {
	t.Helper()
	ctx := context.Background()
	var keys []string
	find := func(ctx context.Context, c redis.UniversalClient) error {
		found, err := c.Keys(ctx, namespace+":*").Result()
		keys = append(keys, found...)
		return err
	}
	var err error
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		var mu sync.Mutex
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return find(ctx, c)
		})
	} else {
		err = find(ctx, rdb)
	}
	if err != nil || len(keys) == 0 {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	var all []string
	for _, key := range keys {
		kind, err := rdb.Type(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		var got any
		switch kind {
		case "hash":
			got, err = rdb.HGetAll(ctx, key).Result()
		case "zset":
			got, err = rdb.ZRangeWithScores(ctx, key, 0, -1).Result()
		case "set":
			got, err = rdb.SMembers(ctx, key).Result()
		case "string":
			got, err = rdb.Get(ctx, key).Result()
		case "none":
		default:
			t.Fatalf("%s is a %s", key, kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %v", key, got))
	}
	return strings.Join(all, "\n")
}
