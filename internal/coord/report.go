package coord

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

// reportDecoder takes every text that a report may hold: the names of operations
// are a scenario's own, and encoding does not look at them.
var reportDecoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		panic(err) // these options are valid
	}
	return mode
}()

func (r *Report) encode() ([]byte, error) {
	body, err := cbor.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return body, nil
}

func decodeReport(body []byte) (Report, error) {
	var r Report
	if err := reportDecoder.Unmarshal(body, &r); err != nil {
		return Report{}, fmt.Errorf("decode report: %w", err)
	}
	return r, nil
}

// absorb adds the next report of the same member to r.
func (r *Report) absorb(next Report) {
	for i := range next.Operations {
		r.absorbOperation(&next.Operations[i])
	}
	for i := range next.Routes {
		r.absorbRoute(&next.Routes[i])
	}
	for role, wait := range next.Waits {
		if r.Waits == nil {
			r.Waits = make(map[string]*hist.Histogram)
		}
		if r.Waits[role] == nil {
			r.Waits[role] = new(hist.Histogram)
		}
		r.Waits[role].Merge(wait)
	}
	r.To = max(r.To, next.To)
	if next.SchedLag > 0 {
		r.SchedLag = next.SchedLag // of the whole run: the newer one has the older in it
	}
	r.CPU = max(r.CPU, next.CPU)
	r.Overload = max(r.Overload, next.Overload)
}

func (r *Report) absorbOperation(d *opstats.Delta) {
	for i := range r.Operations {
		if row := &r.Operations[i]; row.Type == d.Type && row.Name == d.Name {
			row.Merge(*d)
			return
		}
	}
	r.Operations = append(r.Operations, *d)
}

func (r *Report) absorbRoute(d *Route) {
	for i := range r.Routes {
		if row := &r.Routes[i]; row.Route == d.Route && row.At == d.At {
			row.Merge(d)
			return
		}
	}
	r.Routes = append(r.Routes, *d)
}

// Merge adds what else was counted on the same route.
func (r *Route) Merge(o *Route) {
	r.Sent += o.Sent
	r.OnTime += o.OnTime
	r.Late += o.Late
	r.Lost += o.Lost
	r.AfterTimeout += o.AfterTimeout
	r.Duplicated += o.Duplicated
	r.Reordered += o.Reordered
	r.Unexpected += o.Unexpected
	r.LateSends += o.LateSends
	r.LeftOut += o.LeftOut
	if o.Latency != nil {
		if r.Latency == nil {
			r.Latency = new(hist.Histogram)
		}
		r.Latency.Merge(o.Latency)
	}
}
