package health

import "time"

const (
	flapChanges = 4               // changes of the verdict that are nothing special
	flapWindow  = time.Minute     // in so much time
	flapCalm    = 5 * time.Minute // without a change, after which a target is as good as new
	maxDamping  = 8               // at most so many times the passes
)

// Damping makes it harder to come up for an address that goes up and down. At
// more than four changes of the verdict within a minute it takes twice the passes
// in a row; at so many again twice of that, up to eight times as many; and after
// five minutes without a change what it took at first. Going down is never made
// harder. The zero value damps nothing yet. It reads no clock.
type Damping struct {
	latest [flapChanges + 1]time.Time // since factor was last raised; the oldest at next
	next   int
	last   time.Time
	factor int // 0 is 1
}

// Changed enters a change of the verdict.
func (d *Damping) Changed(now time.Time) {
	if d.calm(now) {
		*d = Damping{}
	}
	d.last = now
	d.latest[d.next] = now
	d.next = (d.next + 1) % len(d.latest)
	oldest := d.latest[d.next]
	if oldest.IsZero() || now.Sub(oldest) > flapWindow {
		return
	}
	*d = Damping{last: now, factor: min(2*max(1, d.factor), maxDamping)}
}

// Rise is how many passes in a row it takes now, where it is rise without damping.
func (d *Damping) Rise(rise int, now time.Time) int {
	rise = max(1, rise)
	if d.calm(now) {
		return rise
	}
	return rise * max(1, d.factor)
}

func (d *Damping) calm(now time.Time) bool { return now.Sub(d.last) >= flapCalm }
