package redisurl_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/throng-load/throng/internal/redisurl"
)

// want is what a URL means to go-redis.
type want struct {
	addrs          []string
	user, password string
	db             int
	master         string
	cluster        bool
	serverName     string // "" means without TLS
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url  string
		want want
	}{
		{"redis://localhost", want{addrs: []string{"localhost:6379"}}},
		{"redis://127.0.0.1:7000", want{addrs: []string{"127.0.0.1:7000"}}},
		{"redis://h:7000/", want{addrs: []string{"h:7000"}}},
		{"redis://h:7000/3", want{addrs: []string{"h:7000"}, db: 3}},
		{"redis://:secret@h", want{addrs: []string{"h:6379"}, password: "secret"}},
		{"redis://ann:secret@h:1/2", want{addrs: []string{"h:1"}, user: "ann", password: "secret", db: 2}},
		{"REDIS://h", want{addrs: []string{"h:6379"}}},

		{"rediss://h", want{addrs: []string{"h:6379"}, serverName: "h"}},
		{"rediss://ann:secret@h:7000/1", want{addrs: []string{"h:7000"}, user: "ann", password: "secret", db: 1, serverName: "h"}},

		{"redis://[::1]", want{addrs: []string{"[::1]:6379"}}},
		{"redis://[::1]:7000/4", want{addrs: []string{"[::1]:7000"}, db: 4}},
		{"rediss://[2001:db8::1]", want{addrs: []string{"[2001:db8::1]:6379"}, serverName: "2001:db8::1"}},

		{"redis+sentinel://h1/primary", want{addrs: []string{"h1:26379"}, master: "primary"}},
		{"redis+sentinel://h1,h2,h3/primary/5", want{addrs: []string{"h1:26379", "h2:26379", "h3:26379"}, master: "primary", db: 5}},
		{"redis+sentinel://h1:1,h2:2/primary", want{addrs: []string{"h1:1", "h2:2"}, master: "primary"}},
		{"redis+sentinel://h1:1,h2/primary/0", want{addrs: []string{"h1:1", "h2:26379"}, master: "primary"}},
		{"redis+sentinel://h1,h2:2/primary", want{addrs: []string{"h1:26379", "h2:2"}, master: "primary"}},
		{"redis+sentinel://ann:secret@[::1]:1,[::2],h3/my-master/1", want{
			addrs: []string{"[::1]:1", "[::2]:26379", "h3:26379"}, user: "ann", password: "secret", master: "my-master", db: 1,
		}},

		{"redis+cluster://h1", want{addrs: []string{"h1:6379"}, cluster: true}},
		{"redis+cluster://h1,h2/", want{addrs: []string{"h1:6379", "h2:6379"}, cluster: true}},
		{"redis+cluster://h1:7000,h2,10.0.0.3:7002", want{addrs: []string{"h1:7000", "h2:6379", "10.0.0.3:7002"}, cluster: true}},
		{"redis+cluster://:secret@[::1]:7000,[::1]:7001", want{addrs: []string{"[::1]:7000", "[::1]:7001"}, password: "secret", cluster: true}},
	} {
		t.Run(tt.url, func(t *testing.T) {
			t.Parallel()
			o, err := redisurl.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(o.Addrs, tt.want.addrs) || o.Username != tt.want.user || o.Password != tt.want.password ||
				o.DB != tt.want.db || o.MasterName != tt.want.master || o.IsClusterMode != tt.want.cluster {
				t.Errorf("got addrs %q, user %q, password %q, db %d, master %q, cluster %v; want %+v",
					o.Addrs, o.Username, o.Password, o.DB, o.MasterName, o.IsClusterMode, tt.want)
			}
			switch {
			case tt.want.serverName == "" && o.TLSConfig != nil:
				t.Error("it would speak TLS")
			case tt.want.serverName != "" && (o.TLSConfig == nil || o.TLSConfig.ServerName != tt.want.serverName || o.TLSConfig.InsecureSkipVerify):
				t.Errorf("TLS %+v, want verified for %q", o.TLSConfig, tt.want.serverName)
			}
			if o.MaxRetries != -1 || !o.ContextTimeoutEnabled {
				t.Errorf("retries %d, deadlines heeded %v: a script could run twice", o.MaxRetries, o.ContextTimeoutEnabled)
			}
		})
	}
}

// What one types into a URL by the rules for URLs is what Redis is sent.
func TestPasswordsWithSpecialCharacters(t *testing.T) {
	t.Parallel()
	for _, password := range []string{
		"p@ss:word", "a/b?c#d", "100%", "with space", "ünïcödé", "[::1]:1,h2", "+&=;,!$'()*", `quote"back\slash`, "://",
	} {
		for _, format := range []string{
			"redis://ann:%s@h:1/2", "rediss://ann:%s@h", "redis+sentinel://ann:%s@h1:1,h2/m", "redis+cluster://ann:%s@h1,h2:2",
		} {
			text := strings.Replace(format, "ann:%s", url.UserPassword("ann", password).String(), 1)
			o, err := redisurl.Parse(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if o.Password != password || o.Username != "ann" {
				t.Errorf("%s: password %q of %q, want %q of ann", text, o.Password, o.Username, password)
			}
		}
	}
	// An unescaped @ is a common slip with only one meaning.
	if o, err := redisurl.Parse("redis://ann:p@ss@h"); err != nil || o.Password != "p@ss" || o.Addrs[0] != "h:6379" {
		t.Errorf("p@ss: %+v, %v", o, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"", "redis://HOST:PORT"},
		{"h:6379", "redis://HOST:PORT"},
		{"127.0.0.1", "redis://HOST:PORT"},
		{"redis:h", "redis://HOST:PORT"},
		{"redis://", "host"},
		{"redis:///1", "host"},
		{"redis://h1,,h2", "host"},
		{"http://h", "unknown scheme"},
		{"unix:///tmp/redis.sock", "host"},
		{"redis-sentinel://h/m", "unknown scheme"},
		{"redis://h/one", "number"},
		{"redis://h/1/2", "number"},
		{"redis://h/-1", "number"},
		{"redis://h:port", "host"},
		{"redis://h:0", "port"},
		{"redis://h:65536", "port"},
		{"redis://h:1:2", "host"},
		{"redis://::1", "host"},
		{"redis://[::1", "host"},
		{"redis://h 1", "host"},
		{"redis://h1,h2", "Cluster"},
		{"redis://h1:1,h2:2/0", "Cluster"},
		{"rediss://h1,h2", "Cluster"},
		{"redis+sentinel://h1,h2", "master's name"},
		{"redis+sentinel://h1,h2/", "master's name"},
		{"redis+sentinel://h1/m/0/1", "master's name"},
		{"redis+sentinel://h1/m/zero", "number"},
		{"redis+sentinel://h1/m/-1", "number"},
		{"redis+sentinel://h1,/m", "host"},
		{"redis+sentinel://h1/m?db=2", "question mark"},
		{"redis+cluster://h1,h2/1", "database 0"},
		{"redis+cluster://h1?tls=true", "question mark"},
		{"redis://h?no_such_setting=1", "number"},
		{"redis://h#x", "special characters"},
	} {
		o, err := redisurl.Parse(tt.url)
		if err == nil {
			t.Errorf("%q is taken for %+v", tt.url, o)
			continue
		}
		if !errors.Is(err, redisurl.ErrURL) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %q, want one line that wraps ErrURL and says %q", tt.url, err, tt.want)
		}
	}
}

// A password that was not escaped can look like a host, a port, a path or a
// query: whatever the error is about, it must not repeat it.
func TestNoErrorRepeatsAPassword(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, tail := range []string{"h", "h:port", "h:99999", "h/one", "h1,h2", "h1,h2/m/zero", "h/0/1", "h?x=1", "h#x", "", "[::1", "h:1:2", "h,"} {
		for _, scheme := range []string{"redis", "rediss", "redis+sentinel", "redis+cluster", "http", "", "re dis"} {
			for _, password := range []string{secret, "12/" + secret, "1?" + secret, "1#" + secret, "%zz" + secret, "a b" + secret, "1/2/" + secret, secret + "/1"} {
				for _, user := range []string{"", "ann"} {
					text := scheme + "://" + user + ":" + password + "@" + tail
					o, err := redisurl.Parse(text)
					if err != nil && strings.Contains(err.Error(), secret) {
						t.Errorf("%s: %v", text, err)
					}
					// Connect says which addresses do not answer, and a driver's
					// error may name the master.
					if err == nil && (strings.Contains(strings.Join(o.Addrs, " "), secret) || strings.Contains(o.MasterName, secret)) {
						t.Errorf("%s: the password is taken for an address or a name: %q %q", text, o.Addrs, o.MasterName)
					}
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"redis://ann:secret@h:1/2", "rediss://[::1]:7000", "redis+sentinel://h1:1,h2/m/0", "redis+cluster://[::1]:1,[::2]:2", "redis://h1,h2", "x", "://", "redis://%",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := redisurl.Parse(text)
		if err != nil {
			if !errors.Is(err, redisurl.ErrURL) || o != nil {
				t.Fatalf("%q: %v, %v", text, o, err)
			}
			return
		}
		if len(o.Addrs) == 0 || o.DB < 0 {
			t.Fatalf("%q: addresses %q, database %d", text, o.Addrs, o.DB)
		}
		for _, addr := range o.Addrs {
			if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
				t.Fatalf("%q: address %q", text, addr)
			}
		}
		if o.MasterName == "" && !o.IsClusterMode && len(o.Addrs) != 1 {
			t.Fatalf("%q: go-redis would take %q for a Cluster", text, o.Addrs)
		}
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.RequireUserAuth("ann", "p@ss/word")
	userinfo := url.UserPassword("ann", "p@ss/word").String()

	client, err := redisurl.Connect(t.Context(), "redis://"+userinfo+"@"+server.Addr()+"/2")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if got, err := server.DB(2).Get("k"); err != nil || got != "v" {
		t.Errorf("database 2 has %q, %v", got, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}

	client, err = redisurl.Connect(t.Context(), "redis://ann:hunter2@"+server.Addr())
	if err == nil {
		client.Close()
		t.Fatal("connected with a wrong password")
	}
	if !strings.Contains(err.Error(), server.Addr()) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v: want the address and not the password", err)
	}
	if _, err := redisurl.Connect(t.Context(), "h:1"); !errors.Is(err, redisurl.ErrURL) {
		t.Errorf("not a URL: %v", err)
	}
}

func TestConnectGivesUp(t *testing.T) {
	t.Parallel()
	// A listener that never answers, and a port where nobody listens.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for what, addr := range map[string]string{"silence": silent.Addr().String(), "no listener": "127.0.0.1:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		client, err := redisurl.Connect(ctx, "redis://"+addr)
		cancel()
		if err == nil {
			client.Close()
			t.Errorf("%s: connected", what)
			continue
		}
		if errors.Is(err, redisurl.ErrURL) || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
