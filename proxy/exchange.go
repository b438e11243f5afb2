package proxy

import (
	"bytes"
	"net/http"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"weir/internal/compress"
	"weir/internal/metrics"
	"weir/internal/route"
	"weir/pool"
)

// clientWriteIdle is how long a client may take nothing of an answer.
const clientWriteIdle = time.Minute

// exchange is one request in flight: what was asked, what was tried, what was
// answered. A worker recycles them; nothing of one may be kept past finish.
type exchange struct {
	w   *worker
	cc  *clientConn
	ctx *fasthttp.RequestCtx
	lc  *listenerConfig
	snp *Snapshot // the one configuration that this request is served by, once it is routed

	start    time.Time
	deadline time.Time // of the whole request; zero: none
	hurried  bool      // it is the client's, and sooner than the route's
	site     *site     // nil until routed, and where nothing matched

	line     requestLine
	method   []byte // of line
	isHead   bool
	http10   bool
	head     head
	target   target
	host     []byte // the authority the client asked for
	client   netip.Addr
	id       []byte // X-Request-Id
	idBuf    [idLen]byte
	madeID   bool // id is Weir's
	upgrade  bool // the client asks for another protocol, and may
	expects  bool // the client waits for 100 Continue before it sends its body
	body     requestBody
	matching route.Request

	begun bool // counted as begun by the route's metrics

	headLen   int         // of the request's head in out
	sent      bool        // bytes of the answer went to the client
	parted    bool        // and then its backend left: the client was cut off
	pump      *pump       // sends a streaming body: &pumps; nil without one
	pumps     pump        // of all attempts, one after the other
	runPump   func()      // what its coroutine does; made once
	chunks    chunkReader // of the answer
	reqChunks chunkReader // of the request
	pace      pace        // at which the client takes the answer
	out       []byte      // the head on its way to a backend, then the answer's to the client
	extra     []byte
	quota     []byte // header lines that tell a client of its rate limit

	coding     compress.Coding   // what Weir does to the answer's body
	enc        *compress.Encoder // does it; nil for an answer without a body
	packed     []byte            // what came out of enc
	mayPack    bool              // another client might get the body encoded
	varies     bool              // the answer's own Vary says that it does
	retryAfter int64             // seconds; 0: one

	bound       binding // of the client to a backend
	circuit     circuitPass
	tried       pool.Tried
	queued      time.Duration // for a backend, in all
	hedge       *hedge        // a second copy of the request that is under way
	next        pool.Lease    // on another backend, found before an answer was given up
	retriesLeft int
	heard       bool // this attempt has had an interim answer
	told        bool // and one went to the client
	attempts    []attempt
	answer      responseHead // the head of the backend's answer

	first    time.Duration // from start to the head of a backend's answer; 0: there was none
	status   int
	reason   metrics.Reason
	detail   string // what exactly was wrong, for the log and for whoever sent it; "": the reason says it
	closing  bool   // the client's connection ends with this answer
	broken   bool   // the client is gone, or its answer was cut: close without a word
	bytesIn  int64
	bytesOut int64
}

// attempt is one try at one backend, as the access log shows it.
type attempt struct {
	backend *pool.Backend
	status  int
	reason  metrics.Reason
	took    time.Duration
	connect time.Duration
	first   time.Duration // until the head of its answer
}

// serve handles one request: the story, top to bottom.
func (w *worker) serve(ctx *fasthttp.RequestCtx) {
	ex := w.begin(ctx)
	switch {
	case !ex.readHead():
	case !ex.route():
	case !ex.admit():
	case ex.site.redirect != nil:
		ex.count()
		ex.serveRedirect(ex.site.redirect)
	case ex.site.respond != nil:
		ex.count()
		ex.serveRespond(ex.site.respond)
	case !ex.loadBody(), !ex.closedCircuit():
	default:
		ex.count()
		ex.outbound()
		ex.forward()
	}
	ex.finish()
}

// begin takes an exchange from the worker's free list.
func (w *worker) begin(ctx *fasthttp.RequestCtx) *exchange {
	ex := w.open(ctx.Conn().(*clientConn)) // nothing else is ever served
	ex.ctx = ctx
	return ex
}

// open begins an exchange on a connection.
func (w *worker) open(cc *clientConn) *exchange {
	var ex *exchange
	if n := len(w.exchanges); n > 0 {
		ex = w.exchanges[n-1]
		w.exchanges = w.exchanges[:n-1]
	} else {
		ex = &exchange{w: w, out: make([]byte, 0, outSize), attempts: make([]attempt, 0, 4)}
	}
	ex.cc = cc
	ex.snp = w.s.current.Load()
	ex.lc = cc.ln.configIn(ex.snp)
	if ex.lc != cc.lc {
		cc.meet(ex.lc)
	}
	ex.start = w.loop.Now()
	ex.client = cc.peer.addr
	ex.closing = cc.ln.draining()
	w.s.inFlight.add(w.id, 1)
	return ex
}

// readHead checks the head and takes from it what Weir acts on. Where it
// reports false the request has been refused.
func (ex *exchange) readHead() bool {
	b := ex.cc.takeHead()
	end := bytes.IndexByte(b, '\n') + 1
	if !ex.line.parse(b[:end]) {
		return ex.refuseFor(metrics.BadRequest, "the request line is malformed")
	}
	ex.method, ex.http10 = ex.line.method, ex.line.http10
	ex.isHead = string(ex.method) == http.MethodHead
	if err := ex.head.parse(b[end:], ex.lc.limits.Headers); err != nil {
		return ex.refuseFor(reasonOfHead(err), err.Error())
	}
	ex.closing = ex.closing || ex.head.wantsClose || (ex.http10 && !ex.head.keepAlive)
	ex.client = ex.lc.clientOf(&ex.head, ex.cc.peer)
	ex.openBody()
	if wrong := ex.readTarget(); wrong != "" {
		return ex.refuseFor(metrics.BadRequest, wrong)
	}
	ex.nameRequest()
	return ex.readExpect()
}

// glimpse takes from the beginning of a head what the log can tell of it.
func (ex *exchange) glimpse() {
	b := ex.cc.in.buffered()
	if end := bytes.IndexByte(b, '\n'); end >= 0 && ex.line.parse(b[:end+1]) {
		ex.method, ex.http10 = ex.line.method, ex.line.http10
		ex.isHead = string(ex.method) == http.MethodHead
		ex.target.path = ex.line.target
	}
}

func reasonOfHead(err error) metrics.Reason {
	if err == errTooMany || err == errLongName {
		return metrics.HeaderTooLarge
	}
	return metrics.BadRequest
}

// readTarget finds path, query and authority, and says what is wrong with them.
// CONNECT has no target here: a gateway is no tunnel to wherever a client wants.
func (ex *exchange) readTarget() string {
	h := &ex.head
	switch {
	case string(ex.method) == http.MethodConnect:
		return "this is no forward proxy"
	case h.alias:
		return "a header name would be taken for another"
	case ex.http10 && h.chunked:
		return "HTTP/1.0 has no Transfer-Encoding"
	case !ex.target.parse(ex.line.target, string(ex.method) == http.MethodOptions):
		return "the request target is malformed"
	case h.hosts > 1:
		return "there is more than one Host"
	case h.hosts == 0 && !ex.http10:
		return "there is no Host"
	case h.hosts == 1 && !validHost(h.host):
		return "the Host is malformed"
	}
	ex.host = h.host
	if ex.target.authority != nil { // it wins over Host: RFC 9112, section 3.2.2
		if ex.host = ex.target.authority; !validHost(ex.host) {
			return "the request target is malformed"
		}
	}
	return ""
}

// readExpect reads Expect (RFC 9110, section 10.1.1). HTTP/1.0 knows none.
func (ex *exchange) readExpect() bool {
	switch {
	case ex.head.expect == nil || ex.http10:
	case !equalFold(ex.head.expect, "100-continue"):
		ex.refuse(metrics.ExpectationFailed)
		return false
	default:
		// A client that sends its body at once is not waiting for anything.
		ex.expects = ex.body.kind != noBody && len(ex.cc.in.buffered()) == 0
	}
	return true
}

// route finds the site. Where it reports false the request has been refused.
func (ex *exchange) route() bool {
	ex.match()
	trial := ex.w.s.trial.Load()
	if trial != nil {
		ex.enterTrial(trial)
	}
	var ok bool
	if ex.site, ok = ex.lc.routes.Lookup(&ex.matching); !ok {
		ex.site = nil
	}
	if trial != nil && trial.shadow {
		ex.compare(trial)
	}
	if !ok {
		ex.refuse(metrics.NoRoute)
		return false
	}
	if !ex.oneReading() {
		return ex.refuseFor(metrics.BadRequest, "the path can be read in more than one way")
	}
	ex.setDeadline()
	ex.pace.least = ex.site.minRate
	return true
}

// count makes the request one in flight on its route.
func (ex *exchange) count() {
	ex.begun = true
	ex.routeMetrics().Begin(ex.w.id)
}

func (ex *exchange) routeMetrics() *metrics.Route {
	if ex.site != nil {
		return ex.site.metrics
	}
	return ex.lc.unrouted
}

// finish observes what happened and gives everything back.
func (ex *exchange) finish() {
	cc := ex.cc
	if ex.pump != nil {
		ex.pump.end()
	}
	ex.settleCircuit()
	ex.observe()
	switch {
	case cc.tunnel != nil:
		ex.endConnection()
	case ex.broken:
		_ = cc.Conn.Abort() // closed already: as good
		ex.endConnection()
	case ex.closing:
		ex.endConnection()
		if ex.mayLinger() {
			ex.abandon() // first: an attack that is refused holds as little as can be
			cc.linger()
			return
		}
	default:
		cc.rest()
	}
	ex.abandon()
}

// endConnection makes fasthttp leave the connection after this request.
func (ex *exchange) endConnection() {
	ex.cc.over = true
	if ex.ctx != nil {
		ex.ctx.SetConnectionClose()
	}
}

// abandon gives an exchange back that has answered nothing.
func (ex *exchange) abandon() {
	w := ex.w
	w.s.inFlight.add(w.id, -1)
	ex.release()
	if len(w.exchanges) < maxBuffers/2 {
		w.exchanges = append(w.exchanges, ex)
	}
}

// release lets go of everything that is not the exchange's own memory.
func (ex *exchange) release() {
	ex.forget()
	ex.w.encoders.Put(ex.enc)
	out := ex.out[:0]
	if cap(out) > maxKept {
		out = make([]byte, 0, outSize)
	}
	*ex = exchange{
		w: ex.w, runPump: ex.runPump, idBuf: ex.idBuf, out: out, extra: ex.extra[:0], quota: ex.quota[:0], packed: ex.packed[:0], attempts: ex.attempts[:0],
		head:   ex.head.empty(),
		answer: responseHead{head: ex.answer.head.empty()},
		target: target{scratch: ex.target.scratch[:0]},
		chunks: chunkReader{trailers: ex.chunks.trailers[:0]}, reqChunks: chunkReader{trailers: ex.reqChunks.trailers[:0]},
		body: requestBody{small: ex.body.small[:0]},
	}
}

// clientLeft notes that the client is gone: nothing more can be said to it.
func (ex *exchange) clientLeft() {
	ex.broken = true
	if ex.reason == metrics.NoReason {
		ex.reason = metrics.ClientClosed
	}
}
