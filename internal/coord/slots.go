package coord

import (
	"errors"
	"fmt"
	"math/bits"
	"sort"
	"strconv"
	"strings"
)

// Slots is how many slots the user numbers are divided into: as many as Redis
// Cluster has, enough to share users among thousands of workers.
const Slots = 16384

// SlotSet is a set of slots: those of one worker. Its zero value is empty.
// After it was published it must not be changed.
type SlotSet struct {
	// Version counts the assignments of a leader.
	Version int64
	bitmap  [Slots / 8]byte
	list    []int // the members in order, made when first needed by Add or decode
}

// Add puts a slot into the set. Slots must be added in ascending order.
func (s *SlotSet) Add(slot int) {
	s.bitmap[slot/8] |= 1 << (slot % 8)
	s.list = append(s.list, slot)
}

// Has says whether the slot of a user number is in the set.
func (s *SlotSet) Has(number int) bool {
	slot := number % Slots
	return s != nil && s.bitmap[slot/8]&(1<<(slot%8)) != 0
}

// Len is how many slots there are in the set.
func (s *SlotSet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.list)
}

// Count returns how many of the numbers 0..n-1 are in the set.
func (s *SlotSet) Count(n int) int {
	if s == nil {
		return 0
	}
	return n/Slots*len(s.list) + sort.SearchInts(s.list, n%Slots)
}

// Number returns the i-th number (from 0) in the set, in ascending order. The
// set must not be empty.
func (s *SlotSet) Number(i int) int {
	return i/len(s.list)*Slots + s.list[i%len(s.list)]
}

// All calls yield with each slot in order.
func (s *SlotSet) All(yield func(slot int) bool) {
	if s == nil {
		return
	}
	for _, slot := range s.list {
		if !yield(slot) {
			return
		}
	}
}

// encode returns "version:bitmap", the bitmap being 2,048 bytes.
func (s *SlotSet) encode() string {
	return strconv.FormatInt(s.Version, 10) + ":" + string(s.bitmap[:])
}

var errSlots = errors.New("coord: malformed slots")

// decodeSlots reads what encode wrote.
func decodeSlots(text string) (*SlotSet, error) {
	version, bitmap, found := strings.Cut(text, ":")
	n, err := strconv.ParseInt(version, 10, 64)
	if !found || err != nil || len(bitmap) != Slots/8 {
		return nil, fmt.Errorf("%w: %d bytes", errSlots, len(text))
	}
	s := &SlotSet{Version: n}
	copy(s.bitmap[:], bitmap)
	total := 0
	for _, b := range s.bitmap {
		total += bits.OnesCount8(b)
	}
	s.list = make([]int, 0, total)
	for i, b := range s.bitmap {
		for ; b != 0; b &= b - 1 {
			s.list = append(s.list, i*8+bits.TrailingZeros8(b))
		}
	}
	return s, nil
}
