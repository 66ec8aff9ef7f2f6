package redisurl_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/redisurl"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// Whichever node is named, all of them are used; one that is not there is no
// harm while another is.
func TestConnectToACluster(t *testing.T) {
	t.Parallel()
	all := redistest.ClusterURL(t)
	first, _, _ := strings.Cut(all, ",")
	for name, url := range map[string]string{
		"every node": all, "one node": first, "a dead node too": strings.Replace(first, "://", "://127.0.0.1:1,", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := redisurl.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			cluster, ok := client.(*redis.ClusterClient)
			if !ok {
				t.Fatalf("got a %T", client)
			}
			// What the pool insists on, and what keeps scripts from running twice
			// unseen.
			if opt := cluster.Options(); !opt.ContextTimeoutEnabled || opt.MaxRetries != -1 {
				t.Errorf("heeds contexts: %v, retries: %d; want true, -1", opt.ContextTimeoutEnabled, opt.MaxRetries)
			}
			_, namespace := redistest.Cluster(t)
			for i := range 30 {
				if err := client.Set(t.Context(), fmt.Sprintf("%s:%d", namespace, i), "v", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A server that is no Cluster, though the URL says so, is an error at once.
func TestConnectToWhatIsNoCluster(t *testing.T) {
	t.Parallel()
	addr := strings.TrimPrefix(redistest.URL(t), "redis://")
	client, err := redisurl.Connect(t.Context(), "redis+cluster://"+addr)
	if err == nil {
		client.Close()
		t.Fatal("connected")
	}
	if !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "cluster support disabled") {
		t.Errorf("%v: want the address, and that it is no Cluster", err)
	}
}
