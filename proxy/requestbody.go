package proxy

import (
	"errors"
	"io"
	"time"

	"weir/internal/loop"
)

// bodyKind says how a request's body comes.
type bodyKind uint8

const (
	noBody      bodyKind = iota
	smallBody            // whole in memory: can be sent again
	lengthBody           // streams, its length is known
	chunkedBody          // streams
)

// smallBodySize is what fasthttp has read of a body with a known length before
// it calls the handler. Bodies up to it are kept for a second attempt.
const smallBodySize = 8 << 10

// requestBody is the body on its way to a backend.
type requestBody struct {
	kind   bodyKind
	length int64 // -1 when chunked
	small  []byte
	stream io.Reader
	begun  bool // bytes of the stream were taken: it cannot be sent again
	eof    bool // all of it was taken from the client; it may be on its way to the backend
}

var (
	errBodyTooLarge = errors.New("the request's body is larger than it may be")
	errStopped      = errors.New("the answer came before the end of the request")
)

// openBody looks at what fasthttp holds of the body.
func (ex *exchange) openBody() bool {
	b := &ex.body
	b.stream = ex.ctx.RequestBodyStream()
	switch {
	case ex.head.chunked:
		b.kind, b.length = chunkedBody, -1
	case ex.head.contentLength == nil:
		return true
	default:
		b.length = number(ex.head.contentLength)
		switch {
		case b.length == 0:
			b.eof = true
			return true
		case b.length <= smallBodySize:
			return ex.loadBody()
		}
		b.kind = lengthBody
	}
	return b.stream != nil
}

// loadBody takes a small body out of fasthttp's buffer, without waiting.
func (ex *exchange) loadBody() bool {
	b := &ex.body
	b.kind = smallBody
	if b.stream == nil {
		return false
	}
	if int64(cap(b.small)) < b.length {
		b.small = make([]byte, 0, smallBodySize)
	}
	b.small = b.small[:b.length]
	if _, err := io.ReadFull(b.stream, b.small); err != nil {
		return false
	}
	b.eof = true
	ex.bytesIn = b.length
	return true
}

func (b *requestBody) streams() bool { return b.kind == lengthBody || b.kind == chunkedBody }

// unread reports whether bytes of the body may still be on their way here.
func (b *requestBody) unread() bool { return b.streams() && !b.eof }

// settle decides, before an answer says so, whether it ends the connection: one
// whose body was not read to its end cannot be used again, and the listener may
// have begun to drain since the request came.
func (ex *exchange) settle() {
	if ex.body.unread() || ex.cc.ln.draining() {
		ex.closing = true
	}
}

// pump sends a streaming body to a backend while the exchange waits for the
// answer: a backend may answer before it has read everything. It runs on a
// coroutine of its own.
type pump struct {
	ex   *exchange
	up   *upConn
	task *loop.Task // the exchange's, woken at the end
	stop bool       // the answer is complete: give up
	done bool
	by   time.Time // once done: the deadline of the answer's head
	err  error     // nil: all of it was sent
	from bool      // err came from the client's side
}

func (ex *exchange) startPump(up *upConn) *pump {
	p := &pump{ex: ex, up: up, task: ex.w.loop.Task()}
	ex.body.begun = true
	ex.cc.site = ex.site
	ex.w.loop.Go(func() {
		p.err = p.run()
		p.done = true
		p.settle()
		p.task.Wake()
	})
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
		p.by = p.ex.by(p.ex.site.timeouts.Response)
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
	if p != nil && !p.done && ex.body.eof {
		ex.w.loop.Task().Yield() // woken together with this coroutine, it has only to notice
	}
	return p == nil || p.done && p.err == nil
}

func (p *pump) run() error {
	ex, w := p.ex, p.ex.w
	buf := w.takeBig()
	defer w.putBig(buf)
	// Room for a chunk's size in front of the data and its CRLF behind.
	const front, back = 10, 2
	for {
		n, err := ex.body.stream.Read(buf[front : len(buf)-back])
		if p.stop {
			return errStopped
		}
		ex.bytesIn += int64(n)
		if limit := ex.site.maxBody; limit > 0 && ex.bytesIn > limit {
			p.from = true
			return errBodyTooLarge
		}
		if err == io.EOF {
			if ex.body.kind == lengthBody && ex.bytesIn < ex.body.length {
				p.from = true // fasthttp calls this an end, too
				return io.ErrUnexpectedEOF
			}
			ex.body.eof = true
		}
		if n > 0 {
			if werr := p.write(buf, front, n); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return p.finish()
		}
		if err != nil {
			p.from = true
			return err
		}
	}
}

// write sends buf[at:at+n], as a chunk where the body is chunked.
func (p *pump) write(buf []byte, at, n int) error {
	b := buf[at : at+n]
	if p.ex.body.kind == chunkedBody {
		start := putChunkSize(buf[:at], n)
		b = append(buf[start:at+n], crlf...) // the two bytes behind are kept free for it
	}
	return p.send(b)
}

// finish sends what follows the last byte of a chunked body, trailers included.
func (p *pump) finish() error {
	if p.ex.body.kind != chunkedBody {
		return nil
	}
	end := append([]byte("0\r\n"), p.ex.ctx.Request.Header.TrailerHeader()...)
	return p.send(end)
}

func (p *pump) send(b []byte) error {
	return writeAll(p.up.c, b, p.ex.site.timeouts.Response, p.ex.deadline)
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
