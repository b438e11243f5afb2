package proxy

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"weir/internal/compress"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/pool"
)

// Sizes of the buffers a worker lends out.
const (
	bufferSize = 16 << 10 // an answer's head and, mostly, its body
	bigSize    = 64 << 10 // one direction of a stream
	outSize    = 4 << 10  // what an exchange writes its heads into at first
	maxKept    = 32 << 10 // a larger one is not kept
	maxBuffers = 512      // of one kind on a worker's free list

	maxEncoders = 64 // in use at once, 1 MiB each; answers beyond go out as they are
)

// worker is the part of the data plane that lives on one loop. Only code that
// runs on that loop touches it, but for large, headerBytes and recording, which
// see to that themselves.
type worker struct {
	s    *Server
	loop *loop.Loop
	id   int

	small       *fasthttp.Server                // for heads of up to inputSize: nearly all
	large       atomic.Pointer[fasthttp.Server] // for the others; replaced by refit when the limit changes
	headerBytes atomic.Int64                    // of large

	exchanges []*exchange
	conns     []*clientConn
	inputs    [][]byte
	buffers   [][]byte
	bigs      [][]byte
	scratch   []byte
	buckets   map[*pool.Backend]*bucket
	inUse     map[uint64]*inUse // by pool.Backend.Lineage
	budgets   map[*pool.Pool]*retryBudget
	recents   map[*metrics.Route]*recent
	reaping   bool
	random    *rand.ChaCha8
	log       *logRing
	recording recording
	encoders  compress.Set

	dateLine   []byte
	dateSecond int64
}

func newWorker(s *Server, l *loop.Loop) *worker {
	w := &worker{s: s, loop: l, id: l.Index(), buckets: make(map[*pool.Backend]*bucket), inUse: make(map[uint64]*inUse), budgets: make(map[*pool.Pool]*retryBudget),
		recents: make(map[*metrics.Route]*recent),
		random:  newRandom(), log: newLogRing()}
	w.small = w.newEngine(inputSize)
	w.encoders.Limit = maxEncoders
	return w
}

// draw is a random number in [0, 1).
func (w *worker) draw() float64 { return float64(w.random.Uint64()>>11) / (1 << 53) }

// engineFor is the fasthttp server that has room for a head of so many bytes.
func (w *worker) engineFor(headLen int) *fasthttp.Server {
	if headLen <= inputSize {
		return w.small
	}
	if large := w.large.Load(); headLen <= large.ReadBufferSize {
		return large
	}
	return w.newEngine(headLen) // a listener that drains has the limit of before
}

// newEngine makes the fasthttp server of a worker. Each setting is explicit
// because fasthttp's default is another.
func (w *worker) newEngine(headerBytes int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:        w.serve,
		HeaderReceived: headReceived,
		ErrorHandler:   w.malformed,

		ReadBufferSize:                headerBytes,   // default 4 KiB: cookies are larger
		MaxRequestBodySize:            math.MaxInt,   // default 4 MiB; it never sees a body
		StreamRequestBody:             true,          // default: whole bodies in memory
		DisablePreParseMultipartForm:  true,          // default: parsed, into temporary files
		DisableHeaderNamesNormalizing: true,          // default: names are rewritten
		NoDefaultServerHeader:         true,          // the backend's Server goes on
		NoDefaultDate:                 true,          // reply.go adds Date where it is missing
		NoDefaultContentType:          true,          // nobody invents a type
		SecureErrorLogMessage:         true,          // errors do not quote requests
		LazyRequestTime:               true,          // the loop has a clock
		CloseOnShutdown:               false,         // Weir says when a connection ends
		Concurrency:                   math.MaxInt32, // limits are Weir's
		Logger:                        quiet{},       // what is worth saying is said by Weir
	}
}

// quiet drops fasthttp's own log lines: each error they tell of reaches
// malformed as well.
type quiet struct{}

// Printf does nothing.
func (quiet) Printf(string, ...any) {}

// serveConn serves a connection from its first byte, or its first after being
// parked, until it parks, closes, or has been a tunnel.
func (w *worker) serveConn(ln *listener, c *loop.Conn) {
	cc := w.takeConn(ln, c)
	switch {
	case !cc.greet():
	case c.Tag&(overConnections|overPerIP) != 0:
		cc.turnAway()
	default:
		cc.run()
	}
	w.putConn(cc) // not deferred: what panicked may still be in use
}

func (w *worker) takeConn(ln *listener, c *loop.Conn) *clientConn {
	var cc *clientConn
	if n := len(w.conns); n > 0 {
		cc = w.conns[n-1]
		w.conns = w.conns[:n-1]
	} else {
		cc = new(clientConn)
	}
	cc.Conn, cc.w, cc.ln = c, w, ln
	cc.peer.addr = c.RemoteAddrPort().Addr().Unmap()
	cc.forwarded = fixedLines(cc.forwarded, c, cc.peer)
	cc.headStart = w.loop.Now()
	return cc
}

func (w *worker) putConn(cc *clientConn) {
	w.putInput(cc.in.buf)
	w.putInput(cc.head)
	*cc = clientConn{forwarded: cc.forwarded[:0]}
	if len(w.conns) < maxBuffers/4 { // a burst must not leave its memory behind
		w.conns = append(w.conns, cc)
	}
}

// headReceived takes the body out of fasthttp's sight. What it would read of
// one is read by requestbody.go; -2 is its word for a message without a body.
func headReceived(h *fasthttp.RequestHeader) (rc fasthttp.RequestConfig) {
	if h.ContentLength() != -2 {
		h.SetContentLength(-2)
	}
	return rc
}

// malformed answers a request that fasthttp does not understand. Weir reads it
// too, and mostly has said why by then; two readers that disagree end in a 400.
func (w *worker) malformed(ctx *fasthttp.RequestCtx, _ error) {
	cc := ctx.Conn().(*clientConn)
	if !cc.given {
		return
	}
	ex := w.begin(ctx)
	ex.closing = true
	if ex.readHead() {
		ex.refuse(metrics.BadRequest)
	}
	ex.finish()
}

// takeInput lends a buffer for what a client sends.
func (w *worker) takeInput() []byte { return take(&w.inputs, inputSize) }

// putInput takes back a buffer of an input, which may have become a big one, or
// one of no use to anybody else.
func (w *worker) putInput(b []byte) {
	switch len(b) {
	case inputSize:
		if len(w.inputs) < maxBuffers/8 { // they move only when connections come, go or park
			w.inputs = append(w.inputs, b)
		}
	case bigSize:
		w.putBig(b)
	}
}

// takeBuffer lends a buffer of bufferSize.
func (w *worker) takeBuffer() []byte { return take(&w.buffers, bufferSize) }

func (w *worker) putBuffer(b []byte) {
	if len(w.buffers) < maxBuffers {
		w.buffers = append(w.buffers, b)
	}
}

// takeBig lends a buffer of bigSize.
func (w *worker) takeBig() []byte { return take(&w.bigs, bigSize) }

func (w *worker) putBig(b []byte) {
	if len(w.bigs) < maxBuffers/8 {
		w.bigs = append(w.bigs, b)
	}
}

func take(free *[][]byte, size int) []byte {
	if n := len(*free); n > 0 {
		b := (*free)[n-1]
		*free = (*free)[:n-1]
		return b
	}
	return make([]byte, size)
}

// date is the Date header's value, made once a second.
func (w *worker) date() []byte {
	if now := w.loop.Now().Unix(); now != w.dateSecond {
		w.dateSecond = now
		w.dateLine = w.loop.Now().UTC().AppendFormat(w.dateLine[:0], http.TimeFormat)
	}
	return w.dateLine
}
