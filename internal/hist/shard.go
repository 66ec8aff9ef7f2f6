package hist

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// shard has two sides. Records go to one of them until take turns the shard;
// then take waits until the records begun on that side have ended and has the
// side for itself. So what is taken is of one piece, and nobody who records
// ever waits.
type shard struct {
	// begun has the side for new records in its top bit, and below it how
	// many have begun there. One addition so tells a record its side and
	// tells take to wait for it.
	begun atomic.Uint64
	sides [2]side
}

const sideBit = 63

// side is one half of a shard. All of it is zero when take turns to it.
type side struct {
	ended atomic.Uint64 // records completed, to compare with shard.begun
	sum   atomic.Uint64 // nanoseconds
	size  atomic.Int64
	// greatest is the greatest duration, and shortfall how much the least
	// one is below highest: both only rise, and both begin at zero.
	greatest  atomic.Int64
	shortfall atomic.Int64
	clamped   atomic.Int64
	mirrored  atomic.Int64
	touched   atomic.Uint32 // bit k: block k has counts
	blocks    [blockCount]atomic.Pointer[block]
}

// block is a run of buckets, allocated when one of them is first needed.
type block [blockLen]atomic.Uint32

// record counts d and size on the side whose turn it is.
func (s *shard) record(d time.Duration, size int64) {
	d, clamped, mirrored := clip(d)
	to := &s.sides[s.begun.Add(1)>>sideBit]
	to.count(bucketOf(d))
	to.sum.Add(uint64(d))
	if size != 0 {
		to.size.Add(size)
	}
	raise(&to.greatest, int64(d))
	raise(&to.shortfall, int64(highest-d))
	if clamped {
		to.clamped.Add(1)
	}
	if mirrored {
		to.mirrored.Add(1)
	}
	to.ended.Add(1) // last: from here on the side may be taken
}

// count adds one to bucket i.
func (s *side) count(i int) {
	k := i >> blockBits
	b := s.blocks[k].Load()
	if b == nil {
		s.blocks[k].CompareAndSwap(nil, new(block))
		b = s.blocks[k].Load()
	}
	b[i%blockLen].Add(1)
	// Looking first keeps an addition off the bus: the bit is set once a second.
	if bit := uint32(1) << k; s.touched.Load()&bit == 0 {
		s.touched.Or(bit)
	}
}

// raise sets a to v if v is greater.
func raise(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// take turns the shard and moves what its former side holds into h. Only one
// goroutine may take at a time.
func (s *shard) take(h *Histogram) (size int64) {
	begun := s.begun.Load()
	if begun<<1 == 0 {
		return 0 // nothing has begun since the last take
	}
	turned := ^begun >> sideBit << sideBit // the other side, none begun
	begun = s.begun.Swap(turned)
	from := &s.sides[begun>>sideBit]
	from.await(begun &^ (1 << sideBit))
	return from.drain(h)
}

// await returns once so many records have ended. Those that run on another
// processor end within nanoseconds; one that was preempted needs a processor.
func (s *side) await(records uint64) {
	const spins = 1000
	for i := 0; s.ended.Load() != records; i++ {
		if i >= spins {
			runtime.Gosched()
		}
	}
}

// drain moves everything into h. Nobody else uses the side meanwhile.
func (s *side) drain(h *Histogram) (size int64) {
	h.unpack()
	for touched := s.touched.Swap(0); touched != 0; touched &= touched - 1 {
		k := bits.TrailingZeros32(touched)
		b := s.blocks[k].Load()
		for i := range b {
			if n := b[i].Load(); n != 0 {
				h.add(k<<blockBits+i, int64(n))
				b[i].Store(0)
			}
		}
	}
	h.totals.merge(totals{
		count:    int64(s.ended.Swap(0)),
		sum:      nanoseconds{lo: s.sum.Swap(0)},
		least:    highest - time.Duration(s.shortfall.Swap(0)),
		greatest: time.Duration(s.greatest.Swap(0)),
		clamped:  s.clamped.Swap(0),
		mirrored: s.mirrored.Swap(0),
	})
	return s.size.Swap(0)
}
