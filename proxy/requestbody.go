package proxy

import (
	"bytes"
	"errors"
	"time"

	"weir/internal/loop"
)

// bodyKind says how a request's body comes.
type bodyKind uint8

const (
	noBody      bodyKind = iota
	smallBody            // read whole before a backend is asked: can be sent again
	lengthBody           // streams, its length is known
	chunkedBody          // streams
)

// smallBodySize is up to which size a body with a known length is read before a
// backend is asked. Of longer ones, and of chunked ones, the beginning is kept
// while they stream: see replay.go.
const smallBodySize = 8 << 10

// requestBody is the body on its way to a backend.
type requestBody struct {
	kind   bodyKind
	length int64 // -1 when chunked
	small  []byte
	pace   pace // at which the client sends it
	begun  bool // bytes of the stream may have been taken
	eof    bool // all of it was taken from the client; it may be on its way to the backend
	kept   keptBody
}

var (
	errBodyTooLarge = errors.New("the request's body is larger than it may be")
	errStopped      = errors.New("the answer came before the end of the request")
)

// openBody looks at what the head says of the body. Nothing is read.
func (ex *exchange) openBody() {
	b := &ex.body
	switch {
	case ex.head.chunked:
		b.kind, b.length, ex.reqChunks.wary = chunkedBody, -1, true
	case ex.head.contentLength != nil:
		b.length = number(ex.head.contentLength)
		switch {
		case b.length == 0:
			b.eof = true
		case b.length <= smallBodySize:
			b.kind = smallBody
		default:
			b.kind = lengthBody
		}
	}
}

// loadBody reads a small body: no backend waits for a slow client. Where it
// reports false the request has been refused. A client that wants to hear from
// the backend first has its body streamed, whatever its size.
func (ex *exchange) loadBody() bool {
	b := &ex.body
	b.pace.least = ex.site.minRate
	if b.kind != smallBody {
		return true
	}
	if ex.expects {
		b.kind = lengthBody
		return true
	}
	if int64(cap(b.small)) < b.length {
		b.small = make([]byte, 0, smallBodySize)
	}
	b.small = b.small[:b.length]
	for n := ex.cc.takeBody(b.small); n < len(b.small); {
		k, err := ex.cc.readBody(b.small[n:], ex.site.timeouts.ClientBodyIdle, &b.pace)
		if err != nil {
			ex.refuse(reasonOfBody(err))
			return false
		}
		n += k
	}
	b.eof = true
	ex.bytesIn = b.length
	return true
}

// takeBody moves bytes of a body that came with its head.
func (c *clientConn) takeBody(p []byte) int {
	n := copy(p, c.in.buffered())
	c.in.r += n
	return n
}

func (b *requestBody) streams() bool { return b.kind == lengthBody || b.kind == chunkedBody }

// unread reports whether bytes of the body may still be on their way here.
func (b *requestBody) unread() bool { return b.kind != noBody && !b.eof }

// skipBody drops a body that nobody wants and that is here already: the
// connection can go on.
func (ex *exchange) skipBody() {
	b, in := &ex.body, &ex.cc.in
	if b.begun || !b.unread() || b.length < 0 || int64(in.e-in.r) < b.length {
		return
	}
	in.r += int(b.length)
	b.eof = true
}

// settle decides, before an answer says so, whether it ends the connection: one
// whose body was not read to its end cannot be used again, and the listener may
// have begun to drain since the request came.
func (ex *exchange) settle() {
	ex.skipBody()
	if ex.body.unread() || ex.cc.ln.draining() {
		ex.closing = true
	}
}

// pump sends a streaming body to a backend while the exchange waits for the
// answer: a backend may answer before it has read everything. It runs on a
// coroutine of its own.
type pump struct {
	ex     *exchange
	up     *upConn
	task   *loop.Task // the exchange's, woken at the end
	repeat bool       // it begins with what an earlier attempt kept
	stop   bool       // the answer is complete, or there is none: take nothing more
	done   bool
	ended  time.Time // once done
	by     time.Time // once done: the deadline of the answer's head
	err    error     // nil: all of it was sent
	from   bool      // err came from the client's side
	waits  bool      // for the client; stays true where it was stopped meanwhile
}

// startPump starts the pump of an attempt. An exchange has one at a time, and
// uses the same memory for all of them.
func (ex *exchange) startPump(up *upConn) *pump {
	p := &ex.pumps
	*p = pump{ex: ex, up: up, task: ex.w.loop.Task()}
	p.resume()
	if ex.runPump == nil {
		ex.runPump = func() {
			p.err = p.run()
			p.done, p.ended = true, ex.w.loop.Now()
			p.settle()
			p.task.Wake()
		}
	}
	ex.w.loop.Go(ex.runPump)
	return p
}

// settle tells the exchange, which waits for the answer, what the end of the
// body means to it.
func (p *pump) settle() {
	switch {
	case p.from:
		p.up.c.Close() // a request cut short ends: the backend must not take it for a whole one
	case p.ex.status != 0: // the answer is being relayed, under deadlines of its own
	case isTimeout(p.err):
		p.by = p.ex.w.loop.Now() // it took nothing for as long as it may be silent
		p.up.c.SetReadDeadline(p.by)
	default: // all was sent, or the backend takes no more: it may still have answered
		p.by = p.ex.answerBy(p.ended)
		p.up.c.SetReadDeadline(p.by)
	}
}

// end makes the pump stop and waits for it: the client's reader must not be in
// two hands.
func (p *pump) end() {
	if !p.done {
		p.stop = true
		if !p.ex.body.eof {
			p.ex.cc.stopReading()
		}
		p.up.c.Close()
	}
	for !p.done {
		p.task.Park(time.Time{})
	}
	p.task.Park(p.ended) // forgets a wake-up that nobody waited for: the next wait is another's
}

// fault is what went wrong with the client's side of the body, if anything did.
func (p *pump) fault() error {
	if p != nil && p.from {
		return p.err
	}
	return nil
}

// sentAll reports whether the backend was given the whole request: only then
// can its connection carry another one.
func (ex *exchange) sentAll() bool {
	p := ex.pump
	if p == nil {
		return !ex.body.streams() // a body that the backend did not want was not sent
	}
	if !p.done && ex.body.eof {
		ex.w.loop.Task().Yield() // woken together with this coroutine, it has only to notice
	}
	return p.done && p.err == nil
}

func (p *pump) run() error {
	if p.ex.body.kind == chunkedBody {
		return p.runChunked()
	}
	return p.runLength()
}

// runLength sends a body whose length is known. Never is more read than that:
// what follows is the next request.
func (p *pump) runLength() error {
	ex := p.ex
	buf := ex.w.takeBig()
	defer ex.w.putBig(buf)
	if err := p.sendKept(buf); err != nil {
		return err
	}
	for left := ex.body.length - ex.bytesIn; left > 0; {
		if p.stop {
			return errStopped
		}
		var err error
		b := buf[:min(left, int64(p.room(len(buf))))]
		n := ex.cc.takeBody(b)
		if n == 0 {
			n, err = p.read(b)
		}
		left -= int64(n)
		ex.body.eof = left == 0
		if err := p.took(b[:n]); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		if err := p.send(b[:n]); err != nil {
			return err
		}
	}
	return nil
}

// Room around the data of a chunk for its size and its CRLF.
const (
	chunkFront = 10
	chunkBack  = 2
)

// runChunked takes the client's framing off and puts Weir's around: what came in
// one read leaves as one chunk, however small the client's were.
func (p *pump) runChunked() error {
	p.ex.cc.widen()
	out := p.ex.w.takeBig()
	defer p.ex.w.putBig(out)
	if err := p.sendKept(out); err != nil || p.ex.body.eof {
		return err
	}
	in, n := &p.ex.cc.in, 0
	for !p.stop { // or the input is left to the next attempt
		k, done, err := p.unchunk(out[chunkFront+n : len(out)-chunkBack])
		n += k
		switch {
		case err != nil:
			return err
		case done:
			p.ex.body.eof = true
			return p.send(p.appendEnd(frameChunk(out, n)))
		case n > 0:
			if err := p.send(frameChunk(out, n)); err != nil {
				return err
			}
			n = 0
			continue // there may be more than there was room for
		}
		k, err = p.read(in.room(p.ex.w, bigSize))
		if in.e += k; err != nil {
			return err
		}
	}
	return errStopped
}

// unchunk moves the data of as many chunks as are here into dst.
func (p *pump) unchunk(dst []byte) (n int, done bool, err error) {
	in, c := &p.ex.cc.in, &p.ex.reqChunks
	for {
		b := in.buffered()
		data, used, err := c.next(b[:min(len(b), len(dst)-n)])
		if err != nil {
			p.from = true
			return n, false, err
		}
		in.r += used
		n += copy(dst[n:], data)
		if err := p.took(data); err != nil {
			return n, false, err
		}
		if used == 0 || c.state == chunkDone {
			return n, c.state == chunkDone, nil
		}
	}
}

// widen gives the input another buffer, a big one, which is read into while a
// chunked body streams. The head's lines are views of the old one, whatever its
// size: nothing may be read into that before rest.
func (c *clientConn) widen() {
	if c.head != nil {
		return // by an earlier attempt
	}
	big := c.w.takeBig()
	if n := len(c.in.buffered()); n > len(big)/2 { // a large head's buffer had room for much of the body
		c.w.putBig(big)
		big = make([]byte, n+bigSize)
	}
	n := copy(big, c.in.buffered())
	c.head, c.in.buf, c.in.r, c.in.e = c.in.buf, big, 0, n
}

// narrow gives the big buffer back once it is empty.
func (c *clientConn) narrow() {
	if c.head == nil {
		return
	}
	if c.in.r < c.in.e {
		c.w.putInput(c.head) // nobody looks at that head any more
	} else {
		c.w.putInput(c.in.buf)
		c.in.buf, c.in.r, c.in.e = c.head, 0, 0
	}
	c.head = nil
}

// read waits for bytes of the client. Told to stop it may still bring some.
func (p *pump) read(b []byte) (int, error) {
	ex := p.ex
	p.waits = true
	n, err := ex.cc.readBody(b, ex.site.timeouts.ClientBodyIdle, &ex.body.pace)
	if p.stop {
		return n, errStopped // what went wrong is for whoever reads next
	}
	p.waits = false
	p.from = err != nil
	return n, err
}

// took counts bytes of the body, of which there may be too many, and keeps them
// for another attempt.
func (p *pump) took(b []byte) error {
	ex := p.ex
	ex.bytesIn += int64(len(b))
	if limit := ex.site.maxBody; limit > 0 && ex.bytesIn > limit {
		p.from = true
		return errBodyTooLarge
	}
	ex.keep(b)
	return nil
}

// frameChunk makes a chunk of the n bytes behind chunkFront.
func frameChunk(out []byte, n int) []byte {
	if n == 0 {
		return out[:0]
	}
	start := putChunkSize(out[:chunkFront], n)
	end := chunkFront + n + copy(out[chunkFront+n:], crlf)
	return out[start:end]
}

// appendEnd appends what follows the last chunk. A trailer that the head has a
// field of the same name for is dropped, and one that the operator's rules are
// about: backends that merge trailers would take the later one.
func (p *pump) appendEnd(dst []byte) []byte {
	h, rules := &p.ex.head, &p.ex.site.request
	dst = appendTrailers(append(dst, "0\r\n"...), p.ex.reqChunks.trailers, func(name []byte) bool {
		return h.hasName(name) || h.named(name) || rules.concerns(name)
	})
	return append(dst, crlf...)
}

// appendTrailers appends trailer lines but those that drop names.
func appendTrailers(dst, lines []byte, drop func(name []byte) bool) []byte {
	for len(lines) > 0 {
		n := bytes.IndexByte(lines, '\n') + 1
		if !drop(lines[:bytes.IndexByte(lines, ':')]) {
			dst = append(dst, lines[:n]...)
		}
		lines = lines[n:]
	}
	return dst
}

func (h *head) hasName(name []byte) bool {
	for i := range h.lines {
		if bytes.EqualFold(h.lines[i].name, name) {
			return true
		}
	}
	return false
}

func (p *pump) send(b []byte) error {
	return writeAll(p.up.c, b, p.ex.site.timeouts.Response, p.ex.deadline, nil)
}

// putChunkSize writes a chunk's size and CRLF at the end of room, and returns
// where they begin.
func putChunkSize(room []byte, n int) int {
	i := len(room) - 2
	room[i], room[i+1] = '\r', '\n'
	for {
		i--
		room[i] = "0123456789abcdef"[n&15]
		if n >>= 4; n == 0 {
			return i
		}
	}
}
