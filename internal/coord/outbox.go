package coord

import (
	"slices"
	"sync"
)

// maxKept is how many reports a member keeps before it joins neighbours: two
// minutes' worth.
const maxKept = 120

// outbox keeps a member's reports of one run until they are saved. It is safe
// for concurrent use; its methods never block on the network.
type outbox struct {
	mu   sync.Mutex // guards what follows
	run  string
	last int64 // number of the newest report
	kept []keptReport
}

// keptReport is a report with its number. Once next has returned it, it may be
// in the stream whatever came of sending, so its content is fixed. It is kept
// encoded, which takes a tenth of the memory.
type keptReport struct {
	number int64
	body   []byte
	sent   bool // was acknowledged, and nothing speaks for its loss
	// oldest is the number of the oldest report that is kept; set by next.
	oldest int64
}

// reset begins a run: what belongs to the run before is dropped.
func (o *outbox) reset(run string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.run != run {
		o.run, o.last, o.kept = run, 0, nil
	}
}

// add keeps a report. With too many kept it is joined to the newest one, so
// memory stays bounded and no count is lost.
func (o *outbox) add(run string, r Report) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.run != run {
		return nil // of a run that is over: nobody merges it any more
	}
	n := len(o.kept)
	if n >= maxKept { // next has not returned the newest: it is not in the first half
		joined, err := decodeReport(o.kept[n-1].body)
		if err != nil {
			return err
		}
		joined.absorb(r)
		r = joined
		o.kept = o.kept[:n-1]
		o.last--
	}
	body, err := r.encode()
	if err != nil {
		return err
	}
	o.last++
	o.kept = append(o.kept, keptReport{number: o.last, body: body})
	return nil
}

// next returns the reports to send now, in order. At most n at a time, and no
// more than half of what may be kept ahead of what is saved: the rest stay free
// to be joined, whether it is Redis that is away or the master.
func (o *outbox) next(n int) (run string, reports []keptReport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range min(len(o.kept), maxKept/2) {
		if len(reports) == n {
			break
		}
		if k := o.kept[i]; !k.sent {
			k.oldest = o.kept[0].number
			reports = append(reports, k)
		}
	}
	return o.run, reports
}

// acknowledged marks a report as being in the stream.
func (o *outbox) acknowledged(run string, number int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.run != run {
		return
	}
	for i := range o.kept {
		if o.kept[i].number == number {
			o.kept[i].sent = true
		}
	}
}

// saved forgets the reports up to number.
func (o *outbox) saved(run string, number int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.run != run {
		return
	}
	i := 0
	for i < len(o.kept) && o.kept[i].number <= number {
		i++
	}
	o.kept = slices.Delete(o.kept, 0, i)
}

// resend marks everything that is kept as not in the stream.
func (o *outbox) resend() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.kept {
		o.kept[i].sent = false
	}
}

// waiting is how many reports are kept, and whether some of them are in the
// stream, waiting to be saved.
func (o *outbox) waiting() (n int, someSent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.kept), len(o.kept) > 0 && o.kept[0].sent
}
