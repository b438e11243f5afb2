package pool

import (
	"fmt"
	"time"

	"weir/health"
)

// advice is what a backend's agent says of it. The operator's word, the probes'
// and the traffic's stand beside it: an agent can make its backend get less, and
// never more than these allow.
type advice struct {
	heard   bool
	percent int  // of the weight, on its way to what was last said
	out     bool // it asked for no new requests
	shut    bool // and for none of its old clients': maint
	limit   int  // requests at once; 0: not said
}

// adviceStep is how near to what an agent says its weight has to be, in points,
// to become that. Else it goes half of the way with each report: a load that
// jumps to and fro must not make the shares jump.
const adviceStep = 5

// hear enters a report and returns what has changed, in words; "" if nothing has.
func (a *advice) hear(r health.Report) string {
	before := *a
	if !a.heard {
		a.heard, a.percent = true, 100
	}
	switch {
	case r.Weight < 0:
	case r.Weight-a.percent <= adviceStep && a.percent-r.Weight <= adviceStep:
		a.percent = r.Weight
	default:
		a.percent += (r.Weight - a.percent) / 2
	}
	switch r.Admin {
	case "ready":
		a.out, a.shut = false, false
	case "drain", "maint":
		a.out, a.shut = true, r.Admin == "maint"
	}
	if r.MaxConn >= 0 {
		a.limit = r.MaxConn
	}
	switch {
	case a.out && !before.out:
		return "its agent asks for no new requests"
	case !a.out && before.out:
		return "its agent asks for requests again"
	case a.shut && !before.shut && before.out:
		return "its agent asks for no requests at all"
	case a.out && !a.shut && before.shut:
		return "its agent asks for no new requests"
	case before.heard && a.percent != before.percent, !before.heard && a.percent != 100:
		return fmt.Sprintf("%d %% of its weight, says its agent", a.percent)
	case a.limit != before.limit:
		return fmt.Sprintf("%d requests at once, says its agent", a.limit)
	}
	return ""
}

// apply is a weight with the advice.
func (a *advice) apply(weight int) int {
	if !a.heard {
		return weight
	}
	return max(1, weight*a.percent/100)
}

// refuses reports whether the backend wants no new requests.
func (a *advice) refuses() bool { return a.heard && (a.out || a.percent == 0) }

// bound is the smaller of two limits, where 0 is none.
func (a *advice) bound(limit int) int {
	if a.limit > 0 && (limit == 0 || a.limit < limit) {
		return a.limit
	}
	return limit
}

// advise enters a report of b's agent. p.mu is held.
func (p *Pool) advise(b *Backend, r health.Report, now time.Time) {
	cause := b.advice.hear(r)
	if cause == "" {
		return
	}
	if p.listed[b.address] != b {
		return // still staged: what it said counts when it is listed
	}
	p.change(b, now, EventWeight, cause)
	p.kick()
}
