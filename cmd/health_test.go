package cmd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/coord"
)

func TestHealthOfAnAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exactly("health", b.http.URL+"/healthz").exits(0)
	b.exactly("health", b.http.URL+"/nothing").exits(1, "/nothing answers 404 Not Found").oneLine()
	login := httptest.NewServer(http.RedirectHandler("/nowhere", http.StatusFound))
	defer login.Close()
	b.exactly("health", login.URL).exits(0)
	login.Close()
	b.exactly("health", login.URL).exits(1, "connection refused").oneLine()
	b.exactly("health", "127.0.0.1:9090").exits(2, "is not a URL like").oneLine()
}

func TestHealthOfAMember(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	health := func() outcome { return b.exactly("health", "--redis", b.redis, "--swarm", "mine") }
	health().exits(1, `swarm "mine" has not heard of a worker or a probe of `).oneLine()

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	// join lets a member of that name beat until the returned function ends it.
	join := func(name string) (leave func()) {
		t.Helper()
		member := coord.NewMember(coord.MemberConfig{Redis: b.client(), Swarm: "mine"})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			left <- member.Run(ctx, func() coord.State { return coord.State{Kind: coord.KindWorker, Name: name} })
		}()
		for member.View().Answered.IsZero() {
			select {
			case err := <-left:
				t.Fatal(err)
			case <-time.After(time.Millisecond):
			}
		}
		return func() {
			cancel()
			if err := <-left; err != nil {
				t.Error(err)
			}
		}
	}
	leave := join("another" + host + ":1")
	health().exits(1)
	leave()
	leave = join(host + ":1")
	health().exits(0)
	b.exactly("health", "--redis", b.redis, "--swarm", "other").exits(1)
	leave()
	health().exits(1)
	b.exactly("health", "--redis", "redis://:secret@127.0.0.1:1").exits(1, "does not answer").oneLine()
}
