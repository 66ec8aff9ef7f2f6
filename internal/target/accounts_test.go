package target_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/throng-load/throng/internal/target"
)

func TestListIsCreatedAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	s.want(201, "POST", "/accounts", `{"username":"b","password":"x"}`)
	s.want(409, "POST", "/accounts", `[{"username":"a","password":"x"},{"username":"b","password":"x"},{"username":"c","password":"x"}]`)
	s.want(404, "GET", "/accounts/a", "")
	s.want(404, "GET", "/accounts/c", "")
	s.want(201, "POST", "/accounts", `[{"username":"a","password":"x"},{"username":"c","password":"x"}]`)
	if got := s.Counters().Accounts; got != 3 {
		t.Errorf("%d accounts, want 3", got)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	const list = `[{"username":"a","password":"x","role":"student"},{"username":"b","password":"y","role":"probe"}]`
	s := newService(t, target.Config{})
	first := s.want(201, "POST", "/accounts", list, "Idempotency-Key", "k1")

	for _, row := range []struct {
		name, body, key string
		status          int
	}{
		{"same again", list, "k1", 201},
		{"same, encoded otherwise", strings.ReplaceAll(list, ",", " , "), "k1", 201},
		{"without the key", list, "", 409},
		{"with another key", list, "k2", 409},
		{"another password", strings.Replace(list, `"x"`, `"z"`, 1), "k1", 409},
		{"part of it", `{"username":"a","password":"x","role":"student"}`, "k1", 409},
		{"others under the key", `{"username":"new","password":"x"}`, "k1", 409},
	} {
		var headers []string
		if row.key != "" {
			headers = []string{"Idempotency-Key", row.key}
		}
		w := s.do("POST", "/accounts", row.body, headers...)
		if w.Code != row.status {
			t.Errorf("%s: got %d %s, want %d", row.name, w.Code, w.Body, row.status)
		}
		if row.status == 201 && w.Body.String() != first {
			t.Errorf("%s: answered %s, at first %s", row.name, w.Body, first)
		}
	}
	if got := s.Counters().Accounts; got != 2 {
		t.Errorf("%d accounts, want 2", got)
	}

	// A late repetition must not bring an account back that was deleted.
	s.want(204, "DELETE", "/accounts/a", "")
	s.want(201, "POST", "/accounts", list, "Idempotency-Key", "k1")
	s.want(404, "GET", "/accounts/a", "")

	// A request that failed leaves its key free.
	s.want(409, "POST", "/accounts", `{"username":"b","password":"q"}`, "Idempotency-Key", "k3")
	s.want(204, "DELETE", "/accounts/b", "")
	s.want(201, "POST", "/accounts", `{"username":"b","password":"q"}`, "Idempotency-Key", "k3")
	s.want(200, "POST", "/login", `{"username":"b","password":"q"}`)
}

func TestConcurrentCreationHasOneWinner(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	const rivals = 16
	var wg sync.WaitGroup
	for i := range rivals {
		wg.Go(func() { // all repeat one request
			if w := s.do("POST", "/accounts", `{"username":"same","password":"x"}`, "Idempotency-Key", "k"); w.Code != 201 {
				t.Errorf("repetition: got %d", w.Code)
			}
		})
		wg.Go(func() { // all want the name for themselves
			s.do("POST", "/accounts", fmt.Sprintf(`[{"username":"own-%d","password":"x"},{"username":"rival","password":"x"}]`, i))
		})
	}
	wg.Wait()
	c := s.Counters()
	if c.Accounts != 3 { // same, rival, and the winner's own
		t.Errorf("%d accounts, want 3", c.Accounts)
	}
	if got := c.Requests["accounts_create"]; got["201"] != rivals+1 || got["409"] != rivals-1 {
		t.Errorf("accounts_create: %v", got)
	}
}

func TestDeletedAccountIsLoggedOut(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	before := s.login("ada", "student")
	if again := s.want(200, "POST", "/login", `{"username":"ada","password":"pw"}`); !strings.Contains(again, strings.TrimPrefix(before, "Bearer ")) {
		t.Errorf("a second log-in answers another token: %s", again)
	}
	s.want(204, "DELETE", "/accounts/ada", "")
	s.want(401, "POST", "/channels/c/events", `{}`, "Authorization", before)
	s.want(401, "GET", "/channels/c/events", "", "Authorization", before)
	s.want(401, "POST", "/login", `{"username":"ada","password":"pw"}`)

	after := s.login("ada", "student")
	s.publish(after, "c", `{}`)
	s.want(401, "POST", "/channels/c/events", `{}`, "Authorization", before)
}

func TestUsernameMayBeEscaped(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	s.want(201, "POST", "/accounts", `{"username":"a/b c","password":"x"}`)
	s.want(200, "GET", "/accounts/a%2Fb%20c", "")
	s.want(204, "DELETE", "/accounts/a%2Fb%20c", "")
}

func TestStaleTokensAreWitnessedAndServed(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	authorization := s.login("ada", "student")
	s.login("bob", "student")
	const events = "/channels/c/events"
	for i, row := range []struct {
		status       int
		method, path string
		body, lease  string
		stale        int64 // in all, afterwards
	}{
		{201, "POST", events, `{}`, "10", 0},
		{201, "POST", events, `{}`, "10", 0}, // the same lease goes on
		{201, "POST", events, `{}`, "9", 1},
		{201, "POST", events, `{}`, "", 1}, // no lease, no witness
		{200, "GET", events, ``, "11", 1},
		{200, "GET", events, ``, "10", 2},
		{200, "POST", "/login", `{"username":"ada","password":"pw"}`, "10", 3},
		{401, "POST", "/login", `{"username":"ada","password":"no"}`, "10", 4},
		{200, "POST", "/login", `{"username":"bob","password":"pw"}`, "5", 4}, // another account
		{401, "POST", "/login", `{"username":"eve","password":"pw"}`, "1", 4},
		{200, "GET", "/accounts/ada", ``, "10", 5},
		{400, "DELETE", "/accounts/ada", ``, "ten", 5},
		{204, "DELETE", "/accounts/ada", ``, "10", 6},
	} {
		headers := []string{"Authorization", authorization}
		if row.lease != "" {
			headers = append(headers, "X-Throng-Lease", row.lease)
		}
		s.want(row.status, row.method, row.path, row.body, headers...)
		if got := s.Counters().StaleTokenRequests; got != row.stale {
			t.Errorf("row %d: %s %s under %q: %d stale, want %d", i, row.method, row.path, row.lease, got, row.stale)
		}
	}
}

func TestPasswordsStayInside(t *testing.T) {
	t.Parallel()
	const password = "Tr0ub4dor"
	core, logs := observer.New(zap.DebugLevel)
	s := newService(t, target.Config{Log: zap.New(core)})
	body := `{"username":"ada","password":"` + password + `"}`
	var seen strings.Builder
	for _, r := range [][3]string{
		{"POST", "/accounts", body}, {"POST", "/accounts", body}, {"POST", "/accounts", `[` + body + `,` + body + `]`},
		{"POST", "/accounts", body + "x"}, {"POST", "/accounts", `{"username":7,"password":"` + password + `"}`},
		{"GET", "/accounts/ada", ""}, {"POST", "/login", body}, {"POST", "/login", body + "x"},
		{"PUT", "/admin/faults", `{}`}, {"GET", "/admin/counters", ""}, {"DELETE", "/accounts/ada", ""},
	} {
		seen.WriteString(s.do(r[0], r[1], r[2]).Body.String())
	}
	for _, entry := range logs.All() {
		fmt.Fprintln(&seen, entry.Message, entry.ContextMap())
	}
	if strings.Contains(seen.String(), password) {
		t.Errorf("the password is in: %s", seen.String())
	}
}

func FuzzCreateAccounts(f *testing.F) {
	f.Add(`{"username":"a","password":"b","role":"c","attributes":{"d":"e"}}`, "k")
	f.Add(`[{"username":"a","password":"b"},{"username":"b","password":"b"}]`, "")
	f.Add(`[{}]`, "")
	f.Add(`null`, "")
	f.Fuzz(func(t *testing.T, body, key string) {
		s := newService(t, target.Config{})
		r := newRequest("POST", "/accounts", body)
		r.Header["Idempotency-Key"] = []string{key}
		first := s.send(r).Code
		if first != 201 && first != 400 && first != 413 {
			t.Fatalf("got %d", first)
		}
		accounts := s.Counters().Accounts
		if (accounts > 0) != (first == 201) {
			t.Fatalf("%d accounts after a %d", accounts, first)
		}
		r = newRequest("POST", "/accounts", body)
		r.Header["Idempotency-Key"] = []string{key}
		second := s.send(r).Code
		want := first
		if first == 201 && key == "" {
			want = 409
		}
		if second != want || s.Counters().Accounts != accounts {
			t.Fatalf("repeated: got %d after %d, %d accounts after %d", second, first, s.Counters().Accounts, accounts)
		}
	})
}
