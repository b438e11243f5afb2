package proxy

import (
	"time"

	"weir/internal/metrics"
	"weir/pool"
)

// X-Request-Deadline tells who works on a request how long anybody waits for it:
// so many seconds, from when the head was sent. Weir tells its backends, and
// believes its clients: they can only make their own requests end sooner.

const (
	deadlineName = "X-Request-Deadline"

	// mostDeadline is more than anybody waits: what is larger is not a number of
	// seconds that remain. Some mean a Unix time by a field of this name.
	mostDeadline = 1_000_000 * time.Second
)

// parseDeadline reads what a deadline's line says: digits, and perhaps a fraction.
// 0 is nothing that could be used.
func parseDeadline(value []byte) time.Duration {
	if len(value) == 0 || len(value) > 32 {
		return 0
	}
	var d time.Duration
	unit, point, digits := time.Second, false, 0
	for _, c := range value {
		switch {
		case c == '.' && !point:
			point = true
		case c < '0' || c > '9':
			return 0
		case point:
			unit /= 10 // what is finer than a nanosecond adds nothing
			d += time.Duration(c-'0') * unit
			digits++
		default:
			if d = d*10 + time.Duration(c-'0')*time.Second; d > mostDeadline {
				return 0
			}
			digits++
		}
	}
	if digits == 0 {
		return 0
	}
	return d
}

// noteDeadline keeps the soonest of several.
func (h *head) noteDeadline(value []byte) {
	if d := parseDeadline(value); d > 0 && (h.deadline == 0 || d < h.deadline) {
		h.deadline = d
	}
}

// setDeadline decides until when the request has to be answered: by its route, or
// sooner if the client says so.
func (ex *exchange) setDeadline() {
	ex.deadline = after(ex.start, ex.site.timeouts.Request)
	if d := ex.head.deadline; d > 0 {
		own := ex.start.Add(d)
		if ex.hurried = ex.deadline.IsZero() || own.Before(ex.deadline); ex.hurried {
			ex.deadline = own
		}
	}
}

// message is what an attempt that begins now sends at once: the head, and a body
// that is held whole. It is in ex.out.
func (ex *exchange) message() []byte {
	ex.out = ex.appendDeadline(ex.out[:ex.headLen])
	if ex.body.kind == smallBody {
		ex.out = append(ex.out, ex.body.small...)
	}
	return ex.out
}

// appendDeadline puts what is left of the request's time at the end of a head that
// is about to be sent. The head is the same for every attempt, and this is not.
func (ex *exchange) appendDeadline(head []byte) []byte {
	if ex.deadline.IsZero() || !ex.site.tellsDeadline {
		return head
	}
	left := max(1, int64((ex.deadline.Sub(ex.w.loop.Now())+time.Millisecond-1)/time.Millisecond))
	dst := append(head[:len(head)-len(crlf)], deadlineName+": "...)
	dst = append(appendInt(dst, left/1000), '.', byte('0'+left/100%10), byte('0'+left/10%10), byte('0'+left%10))
	return append(append(dst, crlf...), crlf...)
}

// excuse takes the blame from a backend that was given less time than its route
// gives: by the client, which could otherwise have it ejected.
func (ex *exchange) excuse(v verdict) verdict {
	if ex.late() && ex.clientsTime() {
		return v.excused()
	}
	return v
}

// clientsTime reports whether a request that is late has spent its time on the
// client: it had less than the route gives, or its body was waited for.
func (ex *exchange) clientsTime() bool {
	return ex.hurried || len(ex.attempts) == 0 || ex.pump != nil && ex.pump.waits
}

// excused is v where it was the client's time that ran out.
func (v verdict) excused() verdict {
	if v.outcome == pool.ResponseTimeout || v.outcome == pool.ConnectTimeout {
		v.outcome, v.reason = pool.ClientClosed, metrics.RequestTimeout
	}
	return v
}

// usual is how long attempts of a route take, until the head of an answer that is
// not an error. Each loop knows its own.
type usual []usualLoop

type usualLoop struct {
	mean time.Duration
	n    int // that it is made of, up to usualMost
	_    [112]byte
}

// usualMost makes it an exponential mean of about so many.
const usualMost = 16

func (u usual) observe(loop int, d time.Duration) {
	l := &u[loop]
	l.n = min(l.n+1, usualMost)
	l.mean += (d - l.mean) / time.Duration(l.n)
}

// of is 0 where nothing is known.
func (u usual) of(loop int) time.Duration { return u[loop].mean }

// timeFor reports whether there is time for another attempt after a pause. What
// could not be answered in time any more is load for nothing.
func (ex *exchange) timeFor(pause time.Duration) bool {
	if ex.deadline.IsZero() {
		return true
	}
	left := ex.deadline.Sub(ex.w.loop.Now()) - pause
	return left > 0 && left >= ex.site.state.usual.of(ex.w.id)
}
