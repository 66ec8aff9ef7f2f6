package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/embedded"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/internal/target"
)

// bench is a Redis and a target of a test's own, and the program before them.
type bench struct {
	t         *testing.T
	redis     string
	target    *target.Server
	http      *httptest.Server
	variables map[string]string
	stdin     io.Reader
	file      string
}

// pool is the name of the pool of every bench: its Redis is its own.
const pool = "classroom"

// fast lifts the rate limit, brief has leases end soon.
const (
	fast  = "accounts: { provision: { http: { rate: 5000/s } } }"
	brief = "lease_ttl: 1s\nlock_delay: 200ms"
)

func newBench(t *testing.T, lines ...string) *bench {
	t.Helper()
	server, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	witness, err := target.New(target.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, redis: server.URL(), target: witness, http: httptest.NewServer(witness.Handler()), variables: map[string]string{}}
	t.Cleanup(b.http.Close)
	if len(lines) == 0 {
		lines = []string{fast}
	}
	b.file = b.write("throng.yaml", "scenario: classroom\ntarget: http+poll://"+b.address()+"\nredis: "+b.redis+
		"\n"+strings.Join(lines, "\n")+"\n")
	return b
}

func (b *bench) address() string { return strings.TrimPrefix(b.http.URL, "http://") }

// write writes a file of the test's own and returns its path.
func (b *bench) write(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// outcome is what a run of the program came to.
type outcome struct {
	t              *testing.T
	line           string
	code           int
	stdout, stderr string
}

// run runs `throng accounts ARGS... -f FILE`.
func (b *bench) run(args ...string) outcome {
	b.t.Helper()
	return b.exactly(append(append([]string{"accounts"}, args...), "-f", b.file)...)
}

// exactly runs `throng ARGS...`.
func (b *bench) exactly(args ...string) outcome {
	b.t.Helper()
	e, stdout, stderr := surroundings(b.variables, args...)
	e.stdin = b.stdin
	code := run(b.t.Context(), e)
	return outcome{b.t, strings.Join(args, " "), code, stdout.String(), stderr.String()}
}

// exits checks the exit code and that each text is in what was printed.
func (o outcome) exits(code int, texts ...string) outcome {
	o.t.Helper()
	if o.code != code {
		o.t.Errorf("throng %s: exit code %d, want %d\n%s%s", o.line, o.code, code, o.stdout, o.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(o.stdout+o.stderr, text) {
			o.t.Errorf("throng %s: printed no %q:\n%s%s", o.line, text, o.stdout, o.stderr)
		}
	}
	return o
}

// oneLine checks that what is said on stderr is one line, and nothing elsewhere.
func (o outcome) oneLine() {
	o.t.Helper()
	if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
		o.t.Errorf("throng %s: printed %q and %q, want one line on stderr", o.line, o.stdout, o.stderr)
	}
}

// decode reads the JSON document that is all of stdout.
func decode[T any](o outcome) (document T) {
	o.t.Helper()
	decoder := json.NewDecoder(strings.NewReader(o.stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		o.t.Fatalf("throng %s: %v in %q (%s)", o.line, err, o.stdout, o.stderr)
	}
	if rest, _ := io.ReadAll(decoder.Buffered()); len(bytes.TrimSpace(rest)) > 0 {
		o.t.Errorf("throng %s: printed %q after its document", o.line, rest)
	}
	return document
}

// client returns a user of the bench's Redis.
func (b *bench) client() redis.UniversalClient {
	b.t.Helper()
	client, err := redisurl.Connect(b.t.Context(), b.redis)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = client.Close() })
	return client
}

// open opens the bench's pool beside the program.
func (b *bench) open(keys *accounts.Keyring) *accounts.Pool {
	b.t.Helper()
	p, err := accounts.Open(b.t.Context(), accounts.Config{Redis: b.client(), Name: pool, Keys: keys})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// hold has a holder of this name, which lives until the test ends, lease n
// accounts of a role.
func (b *bench) hold(name, role string, n int) *accounts.Holder {
	b.t.Helper()
	h, err := b.open(nil).Register(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.t.Errorf("holder %s: %v", name, err)
		}
	})
	if _, err := h.LeaseAll(b.t.Context(), role, n); err != nil {
		b.t.Fatal(err)
	}
	return h
}

// dies has a holder lease n accounts of a role and lose Redis for ever.
func (b *bench) dies(role string, n int) {
	b.t.Helper()
	client, err := redisurl.Connect(b.t.Context(), b.redis)
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := accounts.Open(b.t.Context(), accounts.Config{Redis: client, Name: pool})
	if err != nil {
		b.t.Fatal(err)
	}
	h, err := p.Register(b.t.Context(), "dies")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	if _, err := h.LeaseAll(b.t.Context(), role, n); err != nil {
		b.t.Error(err)
	}
	_ = client.Close()
	stop()
	<-ended // with an error, since it could not give anything back
}

// forgets makes the target lose accounts behind the pool's back.
func (b *bench) forgets(usernames ...string) {
	b.t.Helper()
	for _, username := range usernames {
		b.ask(http.MethodDelete, "/accounts/"+username, "", http.StatusNoContent)
	}
}

// ask makes a request to the target.
func (b *bench) ask(method, path, body string, status int) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.http.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		b.t.Fatalf("%s %s: %s, want %d", method, path, response.Status, status)
	}
}

// listed is list --json, whole.
func (b *bench) listed(args ...string) (all []listedAccount) {
	b.t.Helper()
	o := b.run(append([]string{"list", "--json"}, args...)...).exits(0)
	for line := range strings.Lines(o.stdout) {
		var a listedAccount
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			b.t.Fatalf("%v in %q", err, line)
		}
		all = append(all, a)
	}
	return all
}

// usernames are those of listed accounts.
func usernamesOf(all []listedAccount) []string {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.Username
	}
	return names
}

// inTarget is how many accounts the target has.
func (b *bench) inTarget() int { return int(b.target.Counters().Accounts) }

// rows is a CSV file of n accounts of a role.
func rows(role string, n int) string {
	var text strings.Builder
	text.WriteString("username,password,role,group\n")
	for i := range n {
		fmt.Fprintf(&text, "%s%d,secret-of-%s%d,%s,g%d\n", role, i, role, i, role, i%3)
	}
	return text.String()
}
