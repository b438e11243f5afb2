package proxy

// A body that streams goes to the backend as it comes, and is gone. What it
// began with is kept while it does, so that the request can be sent again: first
// what was kept, then the rest as it comes from the client. Nothing waits for
// that. A body that outgrows what is kept cannot be sent again.

// keptSize is how much of a streaming body is kept.
const keptSize = bigSize

// keptBody is what was kept of a streaming body: all of what was taken from the
// client, or nothing.
type keptBody struct {
	buf   []byte // of keptSize, the worker's; nil while it is empty
	n     int    // bytes in it
	keeps bool   // what is taken from now on is kept, too
}

// resume prepares a pump to begin where the body does, whatever an earlier one
// has taken of it.
func (p *pump) resume() {
	ex, b := p.ex, &p.ex.body
	if !ex.repeatable() {
		panic("BUG: a body is sent again that is not kept")
	}
	b.begun = true
	b.kept.keeps = ex.mayRepeat(p.up)
	p.repeat = b.kept.n > 0
	ex.cc.goOnReading()
}

// mayRepeat reports whether there may be another attempt after the one on up has
// sent a part of the body. Otherwise nothing is kept.
func (ex *exchange) mayRepeat(up *upConn) bool {
	return isIdempotent(ex.method) && (up.reused || ex.site.retry.resends())
}

// resends reports whether the rule has retries for requests that were sent.
func (r *retryRule) resends() bool {
	return r.attempts > 0 && (r.reset || r.timeout || len(r.statuses) > 0)
}

// repeatable reports whether the request can be sent again as far as its body
// goes: nothing of it was taken from the client that is not kept, and the client
// did nothing wrong.
func (ex *exchange) repeatable() bool {
	return !ex.body.begun || int64(ex.body.kept.n) == ex.bytesIn && ex.pump.fault() == nil
}

// keep keeps bytes that were taken from the client, as long as all fit.
func (ex *exchange) keep(b []byte) {
	k := &ex.body.kept
	switch {
	case !k.keeps || len(b) == 0:
	case k.n+len(b) > keptSize:
		ex.forget()
	default:
		if k.buf == nil {
			k.buf = ex.w.takeBig()
		}
		k.n += copy(k.buf[k.n:], b)
	}
}

// forget gives up what was kept.
func (ex *exchange) forget() {
	if k := &ex.body.kept; k.buf != nil {
		ex.w.putBig(k.buf)
	}
	ex.body.kept = keptBody{}
}

// answered ends the keeping: there is an answer for the client, and no other
// attempt. A pump that still repeats what was kept forgets it when it has.
func (ex *exchange) answered() {
	ex.body.kept.keeps = false
	if p := ex.pump; p == nil || p.done || !p.repeat {
		ex.forget()
	}
}

// sendKept sends what earlier attempts took from the client, by way of room, and
// the end of a chunked body if they have seen it.
func (p *pump) sendKept(room []byte) error {
	b := &p.ex.body
	for at := 0; at < b.kept.n; {
		n := copy(room[chunkFront:len(room)-chunkBack], b.kept.buf[at:b.kept.n])
		at += n
		part := room[chunkFront : chunkFront+n]
		if b.kind == chunkedBody {
			part = frameChunk(room, n)
		}
		if err := p.send(part); err != nil {
			return err
		}
	}
	if p.repeat = false; !b.kept.keeps {
		p.ex.forget()
	}
	if b.kind == chunkedBody && b.eof {
		return p.send(p.appendEnd(room[:0]))
	}
	return nil
}

// room is how much of a body may be read at once, most at most: never more than
// can be kept, so that a pump that is told to stop has lost nothing. Where
// nothing fits any more, and more is to come, nothing is kept from there on.
func (p *pump) room(most int) int {
	k := &p.ex.body.kept
	if k.keeps && k.n == keptSize {
		p.ex.forget()
	}
	if k.keeps {
		return min(most, keptSize-k.n)
	}
	return most
}
