package provision_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// Ten thousand accounts in the built-in target, without a rate limit.
func BenchmarkEnsureTenThousand(b *testing.B) {
	rdb, namespace := redistest.Real(b)
	base, _ := serveTarget(b, func(next http.Handler) http.Handler { return next })
	api, err := newAPI(base)
	if err != nil {
		b.Fatal(err)
	}
	round := 0
	for b.Loop() {
		pool := newPool(b, rdb, fmt.Sprint(namespace, round))
		round++
		mustEnsure(b, provision.New(pool, api, provision.Config{}), map[string]int{"student": 10_000})
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "accounts/s")
}
