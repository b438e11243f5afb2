package pool

import (
	"fmt"
	"time"

	"weir/health"
)

// advice is what a backend says of itself, through its agent or in heartbeats: of
// each thing, what was said last. The operator's word, the probes' and the
// traffic's stand beside it: a backend can make itself get less, and never more
// than these allow.
type advice struct {
	by      speaker // of the latest word
	heard   bool
	weighed bool // it has said a weight
	percent int  // of the weight, on its way to what was last said
	told    int  // percent, as of the latest event
	out     bool // it asked for no new requests
	shut    bool // and for none of its old clients': maint
	limit   int  // requests at once; 0: not said
}

// speaker is who speaks for a backend.
type speaker string

const (
	agent      speaker = "its agent"
	heartbeats speaker = "its heartbeat"
)

// adviceStep is how near to what an agent says its weight has to be, in points,
// to become that. Else it goes half of the way with each report: a load that
// jumps to and fro must not make the shares jump.
const adviceStep = 5

// far reports whether a percentage is so far from the one that was last told
// that it is worth an event. A weight that follows a load never rests, and would
// fill a backend's history with itself.
func far(percent, told int) bool { return max(percent-told, told-percent) >= 25 }

// hear enters a report. It returns whether anything has changed, and what, in
// words, if that is worth an event.
func (a *advice) hear(r health.Report, by speaker) (changed bool, news string) {
	before := *a
	if !a.heard {
		a.heard, a.percent, a.told = true, 100, 100
	}
	before.percent, a.weighed = a.percent, a.weighed || r.Weight >= 0
	if r.Weight >= 0 || r.Admin != "" || r.MaxConn >= 0 {
		a.by = by
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
		return true, fmt.Sprintf("%s asks for no new requests", by)
	case !a.out && before.out:
		return true, fmt.Sprintf("%s asks for requests again", by)
	case a.shut && !before.shut && before.out:
		return true, fmt.Sprintf("%s asks for no requests at all", by)
	case a.out && !a.shut && before.shut:
		return true, fmt.Sprintf("%s asks for no new requests", by)
	case a.limit != before.limit:
		return true, fmt.Sprintf("%d requests at once, says %s", a.limit, by)
	case far(a.percent, a.told) || (a.percent == 0) != (a.told == 0): // at none it is out
		a.told = a.percent
		return true, fmt.Sprintf("%d %% of its weight, says %s", a.percent, by)
	}
	return a.percent != before.percent || a.weighed != before.weighed, ""
}

// forget drops the advice, if it is of that speaker.
func (a *advice) forget(by speaker) {
	if a.by == by {
		*a = advice{}
	}
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

// advise enters a report of b. p.mu is held.
func (p *Pool) advise(b *Backend, r health.Report, by speaker, now time.Time) {
	changed, news := b.advice.hear(r, by)
	switch {
	case !changed:
		return
	case p.listed[b.address] != b:
		return // still staged: what it said counts when it is listed
	case news != "":
		p.change(b, now, EventWeight, news)
	}
	p.setStale = true
	p.kick()
}
