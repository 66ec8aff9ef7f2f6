package hist

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder collects durations from any number of goroutines until Take moves
// them into a Histogram. Recording takes no lock and, once a duration of that
// size has been met, allocates nothing. Its memory depends on the number of
// processors and the spread of the durations, never on the number of users: up
// to two shards for each processor, of 8 KB for each doubling of the duration.
//
// Between two calls of Take a shard must not count more than 2^32-1 records in
// one bucket nor 2^64 ns (584 years) in all; once a second is far from either.
//
// It is safe for concurrent use. NewRecorder is the only way to make one.
type Recorder struct {
	// shards only ever fills up. It has twice as many places as there are
	// processors: a goroutine that is preempted while it records keeps its
	// shard, and the next one on that processor should find a free one.
	shards []atomic.Pointer[shard]
	next   atomic.Uint32

	// near lends out shards. sync.Pool keeps what it is given back on the
	// processor that gave it, so a shard, and with it the cache lines that
	// counting writes to, stays there. A shard chosen at random would come
	// from another processor most of the time: on two of them a record then
	// takes 85 ns instead of 18. Two goroutines may be lent the same shard,
	// and the garbage collector may make the pool forget all; neither
	// matters but for speed.
	near sync.Pool

	// taking is held by Take, never by Record.
	taking sync.Mutex
}

// NewRecorder returns an empty Recorder.
func NewRecorder() *Recorder {
	r := &Recorder{shards: make([]atomic.Pointer[shard], 2*runtime.GOMAXPROCS(0))}
	r.near.New = func() any { return r.nextShard() }
	return r
}

// nextShard returns the shards in turn, and makes them at their first turn.
func (r *Recorder) nextShard() *shard {
	place := &r.shards[(r.next.Add(1)-1)%uint32(len(r.shards))]
	if s := place.Load(); s != nil {
		return s
	}
	s := new(shard)
	if !place.CompareAndSwap(nil, s) {
		return place.Load()
	}
	return s
}

// Record adds one duration.
func (r *Recorder) Record(d time.Duration) { r.RecordSized(d, 0) }

// RecordSized adds one duration together with a size, such as the bytes that
// were moved in that time.
func (r *Recorder) RecordSized(d time.Duration, size int64) {
	s := r.near.Get().(*shard)
	s.record(d, size)
	r.near.Put(s)
}

// Take adds everything recorded since the last Take to into and returns the
// sum of the sizes. Each record is taken exactly once and as a whole: the
// buckets, count, sum, bounds and sizes that one Take yields are those of the
// same records. Every record that had returned before Take was called is among
// them; one that is made meanwhile may be, or is left for the next Take.
//
// Take waits for those that are just recording, and for another Take.
func (r *Recorder) Take(into *Histogram) (size int64) {
	r.taking.Lock()
	defer r.taking.Unlock()
	for i := range r.shards {
		if s := r.shards[i].Load(); s != nil {
			size += s.take(into)
		}
	}
	return size
}
