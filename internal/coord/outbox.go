package coord

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// maxKept is how many reports a member keeps before it joins neighbours: two
	// minutes' worth.
	maxKept = 120
	// keepSaved is how long a report is kept after it was saved. A Redis that is
	// restarted may have lost what it was told last, two seconds of it at the most if it
	// writes its append-only file every second; if another master then takes over, nobody
	// but the members has the reports that were saved in them.
	keepSaved = 5 * time.Second
)

// outbox keeps a member's reports of one run until they are saved, and a little
// longer. It is safe for concurrent use; its methods never block on the network.
type outbox struct {
	mu    sync.Mutex // guards what follows
	run   string
	last  int64 // number of the newest report
	kept  []keptReport
	tried int64  // the highest number that next has returned
	upTo  int64  // reports up to this number are saved
	saves []save // of which reports are kept, oldest first
}

// save says up to which number reports were saved, and since when that is known.
type save struct {
	upTo int64
	at   time.Time // Redis's
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
		o.run, o.last, o.kept, o.tried, o.upTo, o.saves = run, 0, nil, 0, 0, nil
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
	if n-o.firstUnsaved() >= maxKept && o.last > o.tried {
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
	unsaved := o.kept[o.firstUnsaved():]
	for i := range min(len(unsaved), maxKept/2) {
		if len(reports) == n {
			break
		}
		if k := unsaved[i]; !k.sent {
			k.oldest = o.kept[0].number
			reports = append(reports, k)
			o.tried = max(o.tried, k.number)
		}
	}
	return o.run, reports
}

// firstUnsaved is the index of the first report that is not saved.
func (o *outbox) firstUnsaved() int {
	i, _ := slices.BinarySearchFunc(o.kept, o.upTo+1, func(k keptReport, number int64) int { return cmp.Compare(k.number, number) })
	return i
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

// saved takes note that the reports up to number are saved, and forgets those that
// have been for keepSaved. A number below the one before is that of a Redis which has
// lost a save: what it had is sent again. now is Redis's time.
func (o *outbox) saved(run string, number int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.run != run {
		return
	}
	if number < o.upTo {
		o.saves = slices.DeleteFunc(o.saves, func(s save) bool { return s.upTo > number })
		o.upTo = number
		o.resendLocked()
	}
	if number > o.upTo {
		o.upTo = number
		o.saves = append(o.saves, save{upTo: number, at: now})
	}
	for i := range o.saves {
		if o.saves[i].at.After(now) {
			o.saves[i].at = now // another server, whose clock is behind
		}
	}
	over := 0
	for over < len(o.saves) && now.Sub(o.saves[over].at) >= keepSaved {
		over++
	}
	if over == 0 {
		return
	}
	forget := o.saves[over-1].upTo
	o.saves = slices.Delete(o.saves, 0, over)
	o.kept = slices.DeleteFunc(o.kept, func(k keptReport) bool { return k.number <= forget })
}

// resend marks everything that is not saved as not in the stream.
func (o *outbox) resend() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resendLocked()
}

func (o *outbox) resendLocked() {
	for i := range o.kept {
		o.kept[i].sent = false
	}
}

// waiting is how many reports are not saved, and whether some of them are in the
// stream, waiting for it.
func (o *outbox) waiting() (n int, someSent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	unsaved := o.kept[o.firstUnsaved():]
	return len(unsaved), len(unsaved) > 0 && unsaved[0].sent
}
