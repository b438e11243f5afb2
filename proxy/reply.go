package proxy

import (
	"errors"
	"io"
	"net/http"
	"time"

	"weir/internal/compress"
	"weir/internal/metrics"
	"weir/pool"
)

// heldSize is the body an answer may have for its head to wait for the first
// bytes of it, so that both leave in one write.
const heldSize = bufferSize

// reply sends a backend's answer to the client and settles the connection to
// the backend.
func (ex *exchange) reply(up *upConn) verdict {
	h := &ex.answer
	ex.status = h.status
	ex.answered()
	ex.settle()
	if ex.site.sticky != nil {
		ex.bind(up.bucket.backend)
	}
	if ex.http10 && (h.framing == frameChunked || h.framing == frameClose) {
		ex.closing = true // an HTTP/1.0 client finds the end by the close
	}
	ex.chooseCoding()
	ex.replyHead()
	up.r += h.size
	if err := ex.relay(up); err != nil {
		ex.drop(up)
		return ex.cut(err, up.parted)
	}
	// What is left for the client is in memory: the backend is free.
	ex.cc.SetHangupTarget(nil, 0)
	if h.reusable() && ex.sentAll() {
		ex.w.put(up, ex.site.keep.IdlePerBackend, ex.site.keep.IdleTimeout)
	} else {
		up.close()
	}
	if ex.flush() != nil {
		return ex.cutOff()
	}
	return verdict{outcome: pool.Success}
}

// cutOff is what follows from a client that takes no more of an answer: it left, or
// Weir closed its connection.
func (ex *exchange) cutOff() verdict {
	if ex.parted {
		return verdict{outcome: pool.Drained, reason: metrics.Draining}
	}
	return verdict{outcome: pool.ClientClosed, reason: metrics.ClientClosed}
}

// cut ends an answer that cannot be completed. Where nothing of it has left,
// the client gets another; where something has, its connection is reset, for a
// part must never look like the whole. parted says that Weir closed the backend's
// connection.
func (ex *exchange) cut(err error, parted bool) verdict {
	if ex.broken { // by the client: flush found out
		return ex.cutOff()
	}
	f := failure{at: relaying, err: err, parted: parted}
	if !parted { // else it was Weir that ended the body, too
		f.body = ex.pump.fault()
	}
	v := ex.excuse(classify(f))
	v.reason = ex.inTime(v.reason)
	if v.outcome == pool.BadResponse {
		ex.detail = err.Error()
	}
	if !ex.sent && v.reason != metrics.ClientClosed {
		ex.bytesOut = 0 // what was gathered is dropped
		ex.refuse(v.reason)
		return v
	}
	ex.reason = v.reason
	ex.broken = true
	return v
}

// replyHead builds the head of the answer: the backend's own lines in their
// order, less what ends here, with Weir's framing.
func (ex *exchange) replyHead() {
	h, rules := &ex.answer, &ex.site.response
	dst := h.appendStatusLine(ex.out[:0])
	for i := range h.lines {
		l := &h.lines[i]
		switch {
		case len(rules.drop) > 0 && rules.drops(l.name):
		case l.kind != fieldOther:
			dst = ex.appendReplySpecial(dst, l)
		case ex.coding != compress.None && isOfBytes(l.name):
		case len(h.hopNames) == 0 || !h.named(l.name):
			dst = append(dst, l.raw...)
		}
	}
	if (h.framing == frameClose || h.framing == frameLength && ex.enc != nil) && !ex.http10 {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = append(ex.appendCoding(dst), ex.quota...)
	if ex.bound.give != "" {
		dst = ex.appendPrivate(ex.appendBinding(dst))
	}
	if !h.date && rules.leaves("date") {
		dst = append(append(append(dst, "Date: "...), ex.w.date()...), crlf...)
	}
	if rules.leaves("via") {
		dst = append(dst, "Via: 1.1 weir\r\n"...)
	}
	dst = append(dst, rules.lines...)
	dst = ex.appendConnection(dst)
	ex.out = append(dst, crlf...)
}

func (ex *exchange) appendReplySpecial(dst []byte, l *line) []byte {
	h := &ex.answer
	switch l.kind {
	case fieldHop, fieldConnection:
		return dst
	case fieldUpgrade:
		if h.status != http.StatusUpgradeRequired {
			return dst // an offer that nobody asked for
		}
		return append(append(dst, l.raw...), "Connection: Upgrade\r\n"...) // what 426 has to say: RFC 9110, section 15.5.22
	case fieldContentLength:
		if h.status == 204 || h.status < 200 || ex.coding != compress.None {
			return dst
		}
	case fieldTransferEncoding:
		if h.framing != frameChunked || ex.http10 {
			return dst
		}
		return append(append(dst, l.name...), ": chunked\r\n"...)
	case fieldTrailer:
		if h.framing != frameChunked || ex.http10 {
			return dst
		}
	case fieldETag:
		return ex.appendETag(dst, l)
	case fieldVary:
		ex.varies = ex.varies || hasToken(l.value, "accept-encoding") || hasToken(l.value, "*")
	}
	return append(dst, l.raw...)
}

// relay moves the body. On success its last bytes are still in ex.out.
func (ex *exchange) relay(up *upConn) error {
	if ex.answer.eventStream {
		ex.w.s.metrics.Stream(ex.w.id, metrics.SSE, 1)
		defer ex.w.s.metrics.Stream(ex.w.id, metrics.SSE, -1)
	}
	switch ex.answer.framing {
	case frameLength:
		return ex.relayLength(up, ex.answer.length)
	case frameChunked:
		up.open = ex.w.loop.Now()
		return ex.relayChunked(up)
	case frameClose:
		up.open = ex.w.loop.Now()
		return ex.relayUntilClose(up)
	}
	return nil
}

func (ex *exchange) relayLength(up *upConn, left int64) error {
	hold := left <= heldSize && !ex.answer.eventStream
	for left > 0 {
		b := up.buffered()
		if len(b) == 0 {
			if !hold && ex.flush() != nil {
				return errClientGone
			}
			hold = false
			if err := ex.more(up); err != nil {
				return unexpected(err)
			}
			continue
		}
		b = b[:min(int64(len(b)), left)]
		if err := ex.passLength(b); err != nil {
			return err
		}
		up.r += len(b)
		left -= int64(len(b))
	}
	if ex.enc != nil {
		return ex.endChunks(nil)
	}
	return nil
}

func (ex *exchange) passLength(b []byte) error {
	if ex.enc != nil {
		return ex.passChunk(b)
	}
	return ex.pass(b)
}

func (ex *exchange) relayChunked(up *upConn) error {
	c := &ex.chunks
	for c.state != chunkDone {
		data, used, err := c.next(up.buffered())
		if err != nil {
			return err
		}
		if used == 0 {
			if err := ex.pause(); err != nil {
				return err
			}
			if err := ex.more(up); err != nil {
				return unexpected(err)
			}
			continue
		}
		if err := ex.passChunk(data); err != nil {
			return err
		}
		up.r += used
	}
	return ex.endChunks(c.trailers)
}

func (ex *exchange) relayUntilClose(up *upConn) error {
	for {
		if b := up.buffered(); len(b) > 0 {
			if err := ex.passChunk(b); err != nil {
				return err
			}
			up.r = up.e
			continue
		}
		if err := ex.pause(); err != nil {
			return err
		}
		switch err := ex.more(up); err {
		case nil:
		case io.EOF:
			return ex.endChunks(nil)
		default:
			return err
		}
	}
}

// pause sends all that is here, for the backend has stopped to think: whoever
// waits for a part of the answer shall have it.
func (ex *exchange) pause() error {
	if ex.enc != nil {
		var err error
		if ex.packed, err = ex.enc.Flush(ex.packed[:0]); err != nil {
			return err
		}
		if err := ex.frame(ex.packed); err != nil {
			return err
		}
	}
	if ex.flush() != nil {
		return errClientGone
	}
	return nil
}

// more waits for bytes of the body.
func (ex *exchange) more(up *upConn) error { return up.fill(ex.by(ex.readIdle())) }

// readIdle is how long a backend may be silent in the middle of its answer.
func (ex *exchange) readIdle() time.Duration {
	if ex.answer.eventStream {
		return ex.site.timeouts.StreamIdle
	}
	return ex.site.timeouts.Response
}

// pass sends bytes of the body: gathered with others while they are few,
// straight from the backend's buffer otherwise.
func (ex *exchange) pass(b []byte) error {
	ex.bytesOut += int64(len(b))
	if len(ex.out)+len(b) <= maxKept {
		ex.out = append(ex.out, b...)
		return nil
	}
	if ex.flush() != nil {
		return errClientGone
	}
	return ex.send(b)
}

// passChunk sends data in Weir's framing, encoded if it is to be.
func (ex *exchange) passChunk(data []byte) error {
	if ex.enc == nil {
		return ex.frame(data)
	}
	var err error
	if ex.packed, err = ex.enc.Write(ex.packed[:0], data); err != nil {
		return err
	}
	return ex.frame(ex.packed)
}

// frame sends data as one chunk, or bare to an HTTP/1.0 client.
func (ex *exchange) frame(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if ex.http10 {
		return ex.pass(data)
	}
	var room [10]byte
	ex.out = append(ex.out, room[putChunkSize(room[:], len(data)):]...)
	if err := ex.pass(data); err != nil {
		return err
	}
	ex.out = append(ex.out, crlf...)
	return nil
}

func (ex *exchange) endChunks(trailers []byte) error {
	if ex.enc != nil {
		var err error
		if ex.packed, err = ex.enc.Close(ex.packed[:0]); err != nil {
			return err
		}
		if err := ex.frame(ex.packed); err != nil {
			return err
		}
	}
	if ex.http10 {
		return nil
	}
	ex.out = append(ex.out, "0\r\n"...)
	if len(trailers) > 0 {
		ex.out = appendTrailers(ex.out, trailers, ex.keepsFromTrailers)
	}
	ex.out = append(ex.out, crlf...)
	return nil
}

// keepsFromTrailers names fields of an answer that do not go on behind its body:
// those of the backend's connection, those that rules are about, and those that
// are about bytes which have been encoded since.
func (ex *exchange) keepsFromTrailers(name []byte) bool {
	return ex.answer.named(name) || ex.site.response.concerns(name) || ex.site.isLoad(name) ||
		ex.coding != compress.None && (isOfBytes(name) || equalFold(name, "etag"))
}

// flush sends what has been gathered.
func (ex *exchange) flush() error {
	if len(ex.out) == 0 {
		return nil
	}
	err := ex.send(ex.out)
	ex.out = ex.out[:0]
	return err
}

func (ex *exchange) send(b []byte) error {
	ex.sent = true
	idle := clientWriteIdle
	if ex.answer.eventStream {
		idle = ex.site.timeouts.StreamIdle
	}
	if err := ex.cc.send(b, idle, ex.deadline, &ex.pace); err != nil {
		switch {
		case ex.parted:
			ex.reason = metrics.Draining
		case isTimeout(err) && ex.late():
			ex.reason = metrics.RequestTimeout
		case isTimeout(err):
			ex.reason = metrics.ClientTimeout // it takes nothing, or too little
		}
		ex.clientLeft()
		return errClientGone
	}
	return nil
}

// unexpected makes an end in the middle what it is.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// errClientGone ends a relay whose client takes no more.
var errClientGone = errors.New("the client is gone")
