package proxy

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

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
)

// worker is the part of the data plane that lives on one loop. Only code that
// runs on that loop touches it: no field needs a lock.
type worker struct {
	s    *Server
	loop *loop.Loop
	id   int

	engine      atomic.Pointer[fasthttp.Server] // reads requests; replaced by refit when the header limit changes
	headerBytes atomic.Int64                    // of engine

	exchanges []*exchange
	conns     []*clientConn
	buffers   [][]byte
	bigs      [][]byte
	scratch   []byte
	buckets   map[*pool.Backend]*bucket
	reaping   bool
	random    *rand.ChaCha8
	log       *logRing

	dateLine   []byte
	dateSecond int64
}

func newWorker(s *Server, l *loop.Loop) *worker {
	return &worker{s: s, loop: l, id: l.Index(), buckets: make(map[*pool.Backend]*bucket),
		random: newRandom(), log: newLogRing()}
}

// newEngine makes the fasthttp server of a worker. Each setting is explicit
// because fasthttp's default is another.
func (w *worker) newEngine(headerBytes int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:        w.serve,
		HeaderReceived: w.headReceived,
		ExpectHandler:  w.expect,
		ErrorHandler:   w.malformed,

		ReadBufferSize:                headerBytes,   // default 4 KiB: cookies are larger
		MaxRequestBodySize:            math.MaxInt,   // default 4 MiB; routes have their own limit
		StreamRequestBody:             true,          // default: whole bodies in memory
		DisablePreParseMultipartForm:  true,          // default: parsed, into temporary files
		DisableHeaderNamesNormalizing: true,          // default: names are rewritten
		NoDefaultServerHeader:         true,          // the backend's Server goes on
		NoDefaultDate:                 true,          // reply.go adds Date where it is missing
		NoDefaultContentType:          true,          // nobody invents a type
		KeepHijackedConns:             true,          // tunnels are closed by upgrade.go
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
// parked, until it parks, closes, or becomes a tunnel.
func (w *worker) serveConn(ln *listener, c *loop.Conn) {
	engine := w.engine.Load()
	cc := w.takeConn(ln, c, engine.ReadBufferSize)
	if c.Tag != admitted {
		cc.turnAway()
		w.putConn(cc)
		return
	}
	_ = engine.ServeConn(cc) // its errors went through malformed
	if cc.phase == upgraded {
		c.Keep()
		return // the tunnel owns cc now
	}
	w.putConn(cc)
}

func (w *worker) putConn(cc *clientConn) {
	*cc = clientConn{forwarded: cc.forwarded[:0]}
	w.conns = append(w.conns, cc)
}

func (w *worker) takeConn(ln *listener, c *loop.Conn, bufSize int) *clientConn {
	var cc *clientConn
	if n := len(w.conns); n > 0 {
		cc = w.conns[n-1]
		w.conns = w.conns[:n-1]
	} else {
		cc = new(clientConn)
	}
	cc.Conn, cc.w, cc.ln = c, w, ln
	cc.bufSize = bufSize
	cc.peer.addr = c.RemoteAddrPort().Addr().Unmap()
	cc.forwarded = fixedLines(cc.forwarded, c, cc.peer)
	return cc
}

// headReceived runs when a head is complete. Asking for a read timeout makes
// fasthttp call SetReadDeadline, which is how clientConn learns that the body
// begins; requests without one are spared the call.
func (w *worker) headReceived(h *fasthttp.RequestHeader) (rc fasthttp.RequestConfig) {
	if h.ContentLength() != 0 && h.ContentLength() != -2 {
		rc.ReadTimeout = time.Hour // not used: see clientConn.SetReadDeadline
	}
	return rc
}

// expect answers "Expect: 100-continue" itself, and only for requests that will
// be forwarded: what is refused is refused before the client sends its body.
func (w *worker) expect(ctx *fasthttp.RequestCtx) int {
	ex := w.begin(ctx)
	refused := true
	switch {
	case !ex.readHead():
	case !ex.route():
		ex.refuse(metrics.NoRoute)
	case ex.site.maxBody > 0 && ex.head.contentLength != nil && number(ex.head.contentLength) > ex.site.maxBody:
		ex.refuse(metrics.BodyTooLarge)
	default:
		refused = false
	}
	if !refused {
		ok := ex.cc.send(continueLine, clientWriteIdle, time.Time{}) == nil
		ex.abandon()
		if ok {
			return http.StatusContinue
		}
		return http.StatusExpectationFailed
	}
	ex.closing = true
	ex.finish()
	return http.StatusExpectationFailed
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// malformed answers what never became a request. fasthttp has forgotten what
// there was of it, so the log does not know either.
func (w *worker) malformed(ctx *fasthttp.RequestCtx, err error) {
	ex := w.begin(ctx)
	ex.closing = true
	ex.refuse(ex.cc.reasonOf(err))
	ex.finish()
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
