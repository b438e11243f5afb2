package pool

import (
	"math"
	"time"
)

// The control law of adaptive concurrency: it goes by how much slower answers
// are than they need be, as Envoy's gradient controller and Netflix's Gradient2
// do. docs/decisions/0009-adaptive-concurrency.md says what is taken from which,
// and why. It reads no clock and draws no number, so that a test is a simulation.
const (
	firstLimit = 16 // requests at once at a backend that nobody knows

	tolerance     = 1.5   // times the base that a latency may be before the limit shrinks
	slack         = 0.001 // seconds on top: a millisecond is not worth a refusal
	leastGradient = 0.5   // a window changes the limit by no more than these
	mostGradient  = 1.25

	bindsAt   = 0.9 // part of the limit that is in flight when it is as good as met
	baseFalls = 0.2 // part of the way that the base goes to a lower latency in a window
	baseRises = 0.1 // and to a higher one, while the limit is not in use
	tooFailed = 0.1 // part of the requests that failed, above which latencies say nothing
)

// When a window can be judged.
const (
	windowLeast = 100 * time.Millisecond
	windowFair  = time.Second      // from when on a mean that is not precise is good enough
	windowMost  = 10 * time.Second // and anything is
	windowCount = 20               // answers and failures in it
	precise     = 0.1              // part of a mean that its standard error is
)

// Dips, in which the base is measured.
const (
	dipDepth  = 0.75             // of what the backend can work on at once
	dipFall   = 0.85             // of the base: a latency below that has fallen with the limit
	dipEvery  = 15 * time.Second // or dipRest latencies, if that is more; jitter apart
	dipRest   = 50
	dipFirst  = time.Second // after the base became known
	dipAgain  = 2 * time.Second
	dipWaits  = 250 * time.Millisecond // for requests that do not end
	dipJitter = 0.25
)

// window is what was seen of a backend since the last one was judged.
type window struct {
	answers   int
	latency   float64 // seconds: the mean time to their heads
	deviation float64 // seconds: its standard deviation
	failures  int     // requests without an answer, and answers that say the backend cannot serve
	inFlight  int64   // now
	peak      int64   // the most that was seen
	met       bool    // somebody was passed over because of the limit
}

// failed is the part of the requests that failed.
func (w *window) failed() float64 {
	return float64(w.failures) / float64(max(1, w.answers+w.failures))
}

// gradient is the limit of one backend, and what it follows from.
type gradient struct {
	limit float64
	base  float64   // seconds that an answer takes while none waits for another; 0: not known
	last  float64   // seconds that it took in the last window
	began time.Time // of the window
	phase phase

	due    time.Time // of the next dip, if the limit is in use
	dipped time.Time // end of the last one
	resume float64   // the limit that the last one interrupted
}

// phase says what the limit of the moment is for.
type phase uint8

const (
	steady   phase = iota
	settling       // lowered for a dip; more requests than that are still there
	dipping        // the latency at the lowered limit is being measured
)

// step judges the window if it is time to, and reports whether the next one
// begins. most bounds the limit, 0: nothing does. r in [0, 1) is jitter.
func (g *gradient) step(now time.Time, w window, most int64, r float64) bool {
	switch {
	case g.limit == 0:
		g.limit = firstLimit
	case g.phase == settling:
		if !g.settled(now, w, r) {
			return false
		}
	case !g.ready(now, w):
		return false
	case g.phase == dipping:
		g.measure(now, w, r)
	case w.answers+w.failures > 0:
		g.judge(now, w)
	}
	g.began = now
	g.limit = max(1, g.limit)
	if most > 0 {
		g.limit = min(g.limit, float64(most))
	}
	return true
}

// span is how long a window is at least. Requests in it that began before the
// limit was what it is must be few.
func (g *gradient) span() time.Duration {
	return min(max(windowLeast, seconds(2*g.last)), windowMost)
}

// ready reports whether a window says enough. A small limit lets few requests
// through, and has to be able to grow.
func (g *gradient) ready(now time.Time, w window) bool {
	age := now.Sub(g.began)
	switch {
	case age < g.span():
		return false
	case age >= windowMost:
		return true
	case w.answers+w.failures < min(windowCount, max(5, int(2*g.limit))):
		return false
	}
	return age >= windowFair || w.deviation <= precise*w.latency*math.Sqrt(float64(w.answers))
}

// judge is the law: the limit times the gradient, and room for a burst. What is
// not in use is not changed: nobody knows what it would be good for.
func (g *gradient) judge(now time.Time, w window) {
	inUse := w.met || float64(w.peak) >= g.limit/2
	bound := w.met || float64(w.peak) >= bindsAt*g.limit // who waits in a queue does not ask
	ratio, failed := 1.0, w.failed()
	if w.answers > 0 {
		g.learn(now, w, inUse)
		ratio = (tolerance*g.base + slack) / w.latency
	}
	if w.failures > 0 {
		ratio = min(1, ratio) * (1 - failed)
	}
	if inUse {
		ratio = min(max(leastGradient, ratio), mostGradient)
		g.limit = ratio*g.limit + (1-failed)*math.Sqrt(g.limit)
	}
	if bound && g.base > 0 && failed <= tooFailed && g.dipDue(now) {
		g.resume = g.limit
		g.lower()
	}
}

// learn moves the base. A lower latency always counts; a higher one only while
// it cannot be the limit's doing. Else the base would follow an overload.
func (g *gradient) learn(now time.Time, w window, inUse bool) {
	if w.failed() > tooFailed && g.base > 0 {
		return
	}
	g.last = w.latency
	switch {
	case g.base == 0:
		g.base = w.latency
		g.due, g.resume = now.Add(dipFirst), g.limit
	case w.latency < g.base:
		g.base += baseFalls * (w.latency - g.base)
	case !inUse:
		g.base += baseRises * (w.latency - g.base)
	}
}

// dipDue reports whether the base should be measured: from time to time, and
// where the limit went so far that it may well be wrong.
func (g *gradient) dipDue(now time.Time) bool {
	far := g.limit < g.resume/2 || g.limit > g.resume*2
	return !now.Before(g.due) || far && now.Sub(g.dipped) >= dipAgain
}

// lower begins a dip, or goes on with it: to a part of what keeps the backend
// busy without a queue, which by Little's law is the limit times base / latency.
func (g *gradient) lower() {
	g.phase = settling
	g.limit = math.Floor(dipDepth * g.limit * min(1, g.base/max(g.last, 1e-9)))
}

// settled reports whether requests in flight are down to the limit. If they do
// not go, they are streams or tunnels, and there is nothing to be measured.
func (g *gradient) settled(now time.Time, w window, r float64) bool {
	switch age := now.Sub(g.began); {
	case age < g.span():
		return false
	case w.inFlight <= int64(g.limit):
		g.phase = dipping
		return true
	case age >= g.span()+dipWaits:
		g.endDip(now, r)
		return true
	}
	return false
}

// measure ends a dip with its latency as the new base, whatever the base was.
// As long as it falls with the limit somebody still waits: lower, then.
func (g *gradient) measure(now time.Time, w window, r float64) {
	if w.answers > 0 && w.failed() <= tooFailed {
		fell := w.latency < dipFall*g.base
		g.base, g.last = w.latency, w.latency
		if fell && g.limit > 1 {
			g.lower()
			return
		}
	}
	g.endDip(now, r)
}

func (g *gradient) endDip(now time.Time, r float64) {
	g.phase, g.limit, g.dipped = steady, g.resume, now
	every := max(dipEvery, seconds(dipRest*g.last))
	g.due = now.Add(time.Duration(float64(every) * (1 + dipJitter*(2*r-1))))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
