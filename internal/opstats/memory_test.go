package opstats_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/opstats"
)

// Not parallel: other goroutines would allocate meanwhile.
func TestSuccessAllocatesNothing(t *testing.T) {
	r := opstats.NewRecorder()
	names := []string{"a", "b", "c"}
	success := func(i int) {
		r.Record("PUBLISH", names[i%len(names)], time.Duration(i%1000)*time.Millisecond, 100, nil)
	}
	for i := range 50_000 { // on every processor's shards and both their sides
		success(i)
		if i%1000 == 0 {
			r.Take()
		}
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() { success(i); i++ }); n != 0 {
		t.Errorf("got %v allocations for each success, want none", n)
	}
}

// Not parallel: it measures the heap. Users that recorded must leave nothing
// behind, beyond what the first of them have.
func TestMemoryDoesNotGrowWithUsers(t *testing.T) {
	const many = 10_000
	r := opstats.NewRecorder()
	run := func(users int, record bool) {
		var all sync.WaitGroup
		begin := make(chan struct{})
		for range users {
			all.Go(func() {
				<-begin // so that all of them exist at once
				for i := 0; record && i < 100; i++ {
					r.Record("PUBLISH", "class/progress", time.Duration(i)*time.Millisecond, 100, nil)
				}
			})
		}
		close(begin)
		all.Wait()
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // empties pools
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	run(many, false) // the runtime keeps what it needs for so many goroutines
	// One user's worth on every shard: what the first users cost at most.
	run(100, true)
	before := heap()
	run(many, true)
	grown := heap() - before
	runtime.KeepAlive(r)

	// A shard or two may still be met for the first time.
	if limit := int64(512 << 10); grown > limit {
		t.Errorf("%d users: the heap has grown by %d bytes, want at most %d", many, grown, limit)
	}
	if got := r.Take(); len(got) != 1 || got[0].Count != (many+100)*100 {
		t.Errorf("got %s", text(t, got...))
	}
}
