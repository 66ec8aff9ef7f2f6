package hist

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// formatVersion is the first byte of the binary form. What follows it are
// unsigned varints:
//
//	least greatest sum.hi sum.lo clamped mirrored (step count)*
//
// with durations in nanoseconds, and a pair for each bucket that is not empty,
// in ascending order: the step from the index before it (-1 at first) and its
// count. The total count is the sum of the pairs.
const formatVersion = 1

// errTruncated says that the input ends, or holds a number over 64 bits, where
// a number should be.
var errTruncated = errors.New("number is cut off or too long")

// AppendBinary appends the binary form to dst. Its size grows with the number
// of buckets in use: 3 or 4 bytes for each. The error is always nil.
func (h *Histogram) AppendBinary(dst []byte) ([]byte, error) {
	t := h.totals
	dst = append(dst, formatVersion)
	for _, n := range [...]uint64{
		uint64(t.least), uint64(t.greatest), t.sum.hi, t.sum.lo, uint64(t.clamped), uint64(t.mirrored),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	if t.count == 0 {
		return dst, nil
	}
	if h.packed != nil {
		return append(dst, h.packed...), nil
	}
	before := -1
	first, last := h.span()
	for k := first; k <= last; k++ {
		if h.blocks[k] == nil {
			continue
		}
		for i, n := range h.blocks[k] {
			if n == 0 {
				continue
			}
			bucket := k<<blockBits + i
			dst = binary.AppendUvarint(dst, uint64(bucket-before))
			dst = binary.AppendUvarint(dst, uint64(n))
			before = bucket
		}
	}
	return dst, nil
}

// MergeBinary adds a histogram in its binary form. It allocates nothing unless
// h meets durations that it has no memory for yet. It returns an error, and
// leaves h as it is, if b is malformed, contradicts itself or would make the
// count overflow.
func (h *Histogram) MergeBinary(b []byte) error {
	t, pairs, err := parse(b)
	if err == nil && t.count > math.MaxInt64-h.totals.count {
		err = errors.New("count overflows")
	}
	if err != nil {
		return fmt.Errorf("hist: merge binary histogram: %w", err)
	}
	h.unpack()
	h.addPairs(pairs)
	h.totals.merge(t)
	return nil
}

// MarshalBinary returns the binary form. It has a value receiver so that a
// histogram that is not a pointer marshals too.
func (h Histogram) MarshalBinary() ([]byte, error) { return h.AppendBinary(nil) }

// UnmarshalBinary replaces the histogram by that which MarshalBinary has made
// bytes of. On an error the histogram stays as it is. It checks everything and
// keeps it as it came: a histogram that is decoded to be merged or encoded again
// needs no memory for its buckets. They are unpacked when something is added.
func (h *Histogram) UnmarshalBinary(b []byte) error { return h.keep(bytes.Clone(b)) }

// keep is UnmarshalBinary of bytes that nobody else will change.
func (h *Histogram) keep(b []byte) error {
	t, pairs, err := parse(b)
	if err != nil {
		return fmt.Errorf("hist: decode histogram: %w", err)
	}
	h.Reset()
	h.totals = t
	if t.count > 0 {
		h.packed = pairs
	}
	return nil
}

// unpack counts what is packed in blocks.
func (h *Histogram) unpack() {
	if p := h.packed; p != nil {
		h.packed = nil
		h.addPairs(p)
	}
}

// addPairs is add for each pair.
func (h *Histogram) addPairs(p pairs) {
	bucket, n := -1, int64(0)
	for len(p) > 0 {
		bucket, n, p = p.next(bucket)
		h.add(bucket, n)
	}
}

// pairs is the part of the binary form behind the totals, after it was checked.
type pairs []byte

// next returns the first bucket, given the one before (-1 for none), its count,
// and the other pairs.
func (p pairs) next(before int) (bucket int, n int64, rest pairs) {
	step, b, _ := number(p)
	count, b, _ := number(b)
	return before + int(step), int64(count), b
}

// find returns the bucket of a record, counted from 1 in ascending order, which
// must be one of those that there are.
func (p pairs) find(rank int64) int {
	bucket, n := -1, int64(0)
	for rank > 0 && len(p) > 0 {
		bucket, n, p = p.next(bucket)
		rank -= n
	}
	return bucket
}

// parse checks all of b and returns its totals and the part with the pairs.
func parse(b []byte) (totals, pairs, error) {
	var t totals
	if len(b) == 0 || b[0] != formatVersion {
		return t, nil, errors.New("unknown version")
	}
	b = b[1:]
	var header [6]uint64
	for i := range header {
		var err error
		if header[i], b, err = number(b); err != nil {
			return t, nil, err
		}
	}
	t.sum = nanoseconds{header[2], header[3]}
	if header[0] > header[1] || header[1] > uint64(highest) {
		return t, nil, errors.New("bounds are not in order")
	}
	t.least, t.greatest = time.Duration(header[0]), time.Duration(header[1])

	first, last, err := t.countPairs(b)
	if err != nil {
		return t, nil, err
	}
	if header[4] > uint64(t.count) || header[5] > uint64(t.count) {
		return t, nil, errors.New("more records clamped or mirrored than there are")
	}
	t.clamped, t.mirrored = int64(header[4]), int64(header[5])
	return t, b, t.check(first, last)
}

// countPairs checks the pairs in b, sets the count and returns the first and
// the last bucket, -1 if there is none.
func (t *totals) countPairs(b []byte) (first, last int, err error) {
	first, last = -1, -1
	for len(b) > 0 {
		var step, n uint64
		if step, b, err = number(b); err != nil {
			return 0, 0, err
		}
		if n, b, err = number(b); err != nil {
			return 0, 0, err
		}
		if step == 0 || step > blockCount*blockLen || n == 0 || n > uint64(math.MaxInt64-t.count) {
			return 0, 0, errors.New("bucket or its count out of range")
		}
		// Checked at each step, so that many of them cannot overflow.
		if last += int(step); last >= blockCount*blockLen {
			return 0, 0, errors.New("bucket out of range")
		}
		if first < 0 {
			first = last
		}
		t.count += int64(n)
	}
	return first, last, nil
}

// check says whether the totals can be those of records between the buckets
// first and last, both of which hold at least one. Mean and Quantile rely on it.
func (t *totals) check(first, last int) error {
	if t.count == 0 {
		if *t != (totals{}) {
			return errors.New("figures without a record")
		}
		return nil
	}
	if bucketOf(t.least) != first || bucketOf(t.greatest) != last {
		return errors.New("bounds lie outside of the buckets")
	}
	if t.clamped > 0 && t.greatest != highest {
		return errors.New("clamped records without the highest duration")
	}
	var low, high nanoseconds
	low.hi, low.lo = bits.Mul64(uint64(t.least), uint64(t.count))
	high.hi, high.lo = bits.Mul64(uint64(t.greatest), uint64(t.count))
	if t.sum.less(low) || high.less(t.sum) {
		return errors.New("sum lies outside of the bounds")
	}
	return nil
}

// number takes an unsigned varint off the front of b.
func number(b []byte) (n uint64, rest []byte, err error) {
	if len(b) > 0 && b[0] < 0x80 { // nearly always
		return uint64(b[0]), b[1:], nil
	}
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, errTruncated
	}
	return n, b[size:], nil
}

// MarshalJSON returns the binary form in base64 as a JSON string. It has a
// value receiver so that a histogram that is not a pointer marshals too.
func (h Histogram) MarshalJSON() ([]byte, error) {
	b, err := h.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(b)
}

// UnmarshalJSON replaces the histogram by that which MarshalJSON has made
// text of. On an error the histogram stays as it is. As usual for JSON, null
// changes nothing.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("hist: decode histogram: %w", err)
	}
	return h.keep(b)
}
