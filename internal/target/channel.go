package target

import (
	"sort"
	"sync"
	"time"
)

const (
	maxEvents = 1000    // in one answer
	maxAnswer = 4 << 20 // bytes of events in one answer; a first event may be all of it
)

// event is one delivered entry of a channel.
type event struct {
	position int64
	data     []byte        // as published; never changed
	due      time.Duration // since the start of the server: visible from then on
}

// channel is an append-only list of events of which the newest are kept. What
// is visible of it is always a prefix, since due never decreases: that is how
// order survives delay.
type channel struct {
	mu     sync.Mutex
	events []event
	head   int64         // the newest position given out, also to lost events
	due    time.Duration // of the newest event
	// changed is closed when events are appended; nil while nobody waits.
	// Waiting polls share it, so that waking them costs the publisher one
	// close and not one send each.
	changed chan struct{}
}

// fate is what the faults do to one event.
type fate struct {
	copies int // 0 lost, 1, or 2 duplicated
	delay  time.Duration
}

// publish gives the event its position and appends it as accept says. Accept
// runs under the channel's lock, so that the numbers it gives out are in the
// order of the channel.
func (c *channel) publish(data []byte, now time.Duration, retain int, accept func() fate) (position int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := accept()
	c.head++
	position = c.head
	if f.copies == 0 {
		return position
	}
	c.due = max(c.due, now+f.delay)
	c.events = append(c.events, event{position: position, data: data, due: c.due})
	for range f.copies - 1 {
		c.head++
		c.events = append(c.events, event{position: c.head, data: data, due: c.due})
	}
	if excess := len(c.events) - retain; excess > 0 {
		// The next growth of the slice leaves the dropped entries behind;
		// until then they must not hold on to their data.
		clear(c.events[:excess])
		c.events = c.events[excess:]
	}
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	return position
}

// end returns the newest position.
func (c *channel) end() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// window is what a poll sees of a channel at one instant.
type window struct {
	position int64   // from where the subscriber goes on
	events   []event // visible ones after the poll's position; its own copy
	// If there are no events and the poll waits: what to wait for.
	changed <-chan struct{}
	pending bool          // there is an event that only has to become due
	due     time.Duration // of that event
}

// read returns what is visible at now after a position. With wait it also
// registers for what comes next, if there is nothing.
func (c *channel) read(after int64, now time.Duration, wait bool) window {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := window{position: min(after, c.head)}
	first := sort.Search(len(c.events), func(i int) bool { return c.events[i].position > w.position })
	last, bytes := first, 0
	for last < len(c.events) && last-first < maxEvents && c.events[last].due <= now {
		bytes += len(c.events[last].data)
		if bytes > maxAnswer && last > first {
			break
		}
		last++
	}
	if last > first {
		w.events = append(w.events, c.events[first:last]...)
		w.position = c.events[last-1].position
		return w
	}
	if first < len(c.events) {
		w.pending, w.due = true, c.events[first].due
	}
	if wait {
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		w.changed = c.changed
	}
	return w
}
