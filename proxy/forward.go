package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/internal/proxyproto"
	"weir/pool"
)

// stage is how far an attempt came.
type stage uint8

const (
	dialing  stage = iota // nothing was sent
	sending               // parts of the request may have arrived
	waiting               // all of it was sent, no byte of the answer came
	reading               // the answer has begun; if the connection ends here, its head is not whole
	relaying              // the client has begun to receive it
)

// failure is why an attempt ended without a complete answer.
type failure struct {
	at     stage
	reused bool // the connection had carried an answer before
	unsent bool // the kernel took no byte of the request
	parted bool // Weir closed the connection, for the backend leaves
	err    error
	body   error // what ended the reading of the request's body, if anything did
}

// verdict is what follows from a failure: what the pool learns, what the client
// is told, and whether another attempt is safe.
type verdict struct {
	outcome  pool.Outcome
	reason   metrics.Reason
	nothing  bool // no byte of the request can have been acted on
	headless bool // the connection ended before the head of the answer was whole
}

// classify is the only place where an error becomes a decision.
func classify(f failure) verdict {
	switch {
	case f.body != nil:
		return verdict{outcome: pool.ClientClosed, reason: reasonOfBody(f.body)}
	case isCanceled(f.err):
		return verdict{outcome: pool.ClientClosed, reason: metrics.ClientClosed}
	case errors.Is(f.err, net.ErrClosed) && f.parted:
		return verdict{outcome: pool.Drained, reason: metrics.Draining, headless: f.at <= reading, nothing: f.unsent}
	case errors.Is(f.err, net.ErrClosed):
		// By Weir itself, at the end of the grace period.
		return verdict{outcome: pool.ClientClosed, reason: metrics.ShuttingDown}
	case f.at == dialing && isTimeout(f.err):
		return verdict{outcome: pool.ConnectTimeout, reason: metrics.ConnectTimeout, nothing: true}
	case f.at == dialing:
		return verdict{outcome: pool.ConnectRefused, reason: metrics.ConnectRefused, nothing: true}
	case isTimeout(f.err):
		return verdict{outcome: pool.ResponseTimeout, reason: metrics.UpstreamTimeout}
	case isReset(f.err) && f.reused && f.at <= waiting:
		// The keep-alive race: the backend closed while the request was on its
		// way. Nobody's fault.
		return verdict{outcome: pool.Stale, reason: metrics.UpstreamReset, headless: true, nothing: f.unsent}
	case isReset(f.err):
		return verdict{outcome: pool.Reset, reason: metrics.UpstreamReset, headless: f.at <= reading}
	}
	return verdict{outcome: pool.BadResponse, reason: metrics.BadResponse}
}

func isCanceled(err error) bool { return errors.Is(err, loop.ErrCanceled) }

// isReset reports whether the backend ended the connection.
func isReset(err error) bool {
	return err == io.EOF || err == errTruncated || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
}

func reasonOfBody(err error) metrics.Reason {
	switch {
	case err == errBodyTooLarge:
		return metrics.BodyTooLarge
	case isTimeout(err):
		return metrics.ClientTimeout
	case isReset(err) || errors.Is(err, loop.ErrCanceled):
		return metrics.ClientClosed
	}
	return metrics.BadRequest // broken chunks
}

// forward is the attempt loop. It ends with an answer on its way to the client,
// or refused.
func (ex *exchange) forward() {
	ex.w.budgetOf(ex.site.pool).request(ex.w.loop.Now().Unix())
	ex.retriesLeft = ex.site.retry.attempts
	if ex.late() {
		ex.refuse(metrics.RequestTimeout)
		return
	}
	var last verdict
	for stale := 0; ; {
		lease, err := ex.nextLease()
		if err != nil {
			if last.reason == metrics.NoReason || err == pool.ErrLeft {
				last.reason = reasonOfPool(err)
			}
			ex.refuse(last.reason)
			return
		}
		v, answered := ex.try(lease, stale > 0)
		if last.reason != metrics.NoReason {
			ex.site.traffic.Retry(ex.w.id, last.reason, answered)
		}
		if answered {
			return
		}
		last = v
		switch {
		case ex.next.Backend() != nil: // another one is at hand
		case !ex.again(v):
			ex.refuse(ex.inTime(v.reason))
			return
		case v.outcome == pool.Stale && stale == 0 && ex.timeFor(0):
			stale++ // the same backend may be asked again, on a new connection
		case ex.mayRetry() && ex.backOff():
			ex.countRetry()
			ex.tried.Add(lease.Backend())
		case ex.cc.Conn.Lost():
			ex.refuse(metrics.ClientClosed)
			return
		default:
			ex.refuse(v.reason)
			return
		}
	}
}

// nextLease is the one that was found while an answer was given up, or a new one.
func (ex *exchange) nextLease() (pool.Lease, error) {
	if next := ex.next; next.Backend() != nil {
		ex.next = pool.Lease{}
		return next, nil
	}
	lease, err := ex.acquire(ex.tried)
	if err == pool.ErrAllFull && ex.site.queues {
		return ex.queue()
	}
	return lease, err
}

func (ex *exchange) acquire(tried pool.Tried) (pool.Lease, error) {
	if ex.bound.id != nil {
		if l := ex.acquireBound(tried); l.Backend() != nil {
			return l, nil
		}
	}
	if s := ex.site; s.hashes {
		return s.pool.AcquireKey(ex.w.id, s.hashKey.hash(ex), tried)
	}
	return ex.site.pool.Acquire(ex.w.id, tried)
}

// inTime says request_timeout where it was the whole request's time that ran
// out, whatever was being waited for.
func (ex *exchange) inTime(r metrics.Reason) metrics.Reason {
	if ex.late() && (r == metrics.UpstreamTimeout || r == metrics.ConnectTimeout) {
		return metrics.RequestTimeout
	}
	return r
}

// late reports whether the whole request's time has run out.
func (ex *exchange) late() bool {
	return !ex.deadline.IsZero() && !ex.w.loop.Now().Before(ex.deadline)
}

func reasonOfPool(err error) metrics.Reason {
	switch err {
	case pool.ErrEmpty:
		return metrics.PoolEmpty
	case pool.ErrAllFull:
		return metrics.AllFull
	case pool.ErrQueueFull:
		return metrics.QueueFull
	case pool.ErrQueueTimeout:
		return metrics.QueueTimeout
	case pool.ErrLeft:
		return metrics.ClientClosed
	}
	return metrics.NoHealthy
}

// try asks one backend. It reports whether the client has been answered; the
// lease is done either way, or belongs to a tunnel.
func (ex *exchange) try(lease pool.Lease, fresh bool) (verdict, bool) {
	b := lease.Backend()
	ex.attempts = append(ex.attempts, attempt{backend: b})
	at := &ex.attempts[len(ex.attempts)-1]
	start := ex.w.loop.Now()
	up, err := ex.w.take(b, ex.wants(fresh), ex.by(ex.site.timeouts.Connect))
	if err != nil {
		return ex.failed(lease, failure{at: dialing, err: err}, start), false
	}
	up.hello, up.ex = ex.site.hello, ex
	at.connect = up.connect
	ex.cc.SetHangupTarget(up.c, ex.lc.timeouts.ClientHalfClosed) // the client's hanging up ends the wait
	f := ex.roundTrip(up)
	if ex.hedge != nil {
		up, lease, start, f = ex.settleHedge(up, lease, start, f)
		b, at = lease.Backend(), &ex.attempts[len(ex.attempts)-1]
	}
	if f.err != nil {
		f.reused, f.parted = up.reused, up.parted
		ex.drop(up)
		return ex.failed(lease, f, start), false
	}
	at.status = ex.answer.status
	at.first = ex.w.loop.Now().Sub(start)
	b.Metrics().Observe(ex.w.id, at.status, at.first)
	lease.Observe(at.first)
	ex.remember(at.first)
	ex.noteLoad(&lease)
	if at.status < http.StatusInternalServerError {
		ex.site.state.usual.observe(ex.w.id, at.first)
	}
	if ex.wantsOther() && ex.findOther(b) {
		ex.giveUp(up)
		at.took, at.reason = at.first, metrics.BadStatus
		b.Metrics().Error(ex.w.id, metrics.BadStatus)
		v := verdict{outcome: lease.Answered(at.status), reason: metrics.BadStatus}
		lease.Done(v.outcome)
		return v, false
	}
	ex.first = max(1, ex.w.loop.Now().Sub(ex.start))
	ex.passTrial()
	if at.status == http.StatusSwitchingProtocols {
		ex.beginTunnel(up, lease)
		return verdict{}, true
	}
	if ex.answer.eventStream {
		up.events = true
		lease.Stream()
	}
	v := ex.reply(up)
	at.took = ex.w.loop.Now().Sub(start)
	at.reason = v.reason
	if v.outcome == pool.Success {
		v.outcome = lease.Answered(at.status)
	}
	if v.outcome.Bad() && v.reason != metrics.NoReason {
		b.Metrics().Error(ex.w.id, v.reason)
	}
	lease.Done(v.outcome)
	return verdict{}, true
}

// wants says how careful to be with connections that were used before.
func (ex *exchange) wants(fresh bool) care {
	switch {
	case fresh || ex.site.hello > 0:
		return freshOnly
	case isIdempotent(ex.method):
		return anyIdle
	}
	return checkedIdle
}

// drop closes a backend's connection in the middle of an exchange.
func (ex *exchange) drop(up *upConn) {
	ex.cc.SetHangupTarget(nil, 0)
	up.close()
}

// failed tells the pool and the metrics of an attempt without an answer.
func (ex *exchange) failed(lease pool.Lease, f failure, start time.Time) verdict {
	v := ex.excuse(classify(f))
	b := lease.Backend()
	at := &ex.attempts[len(ex.attempts)-1]
	at.reason = v.reason
	at.took = ex.w.loop.Now().Sub(start)
	if v.outcome == pool.BadResponse {
		ex.detail = f.err.Error()
	}
	switch v.outcome {
	case pool.ClientClosed, pool.Drained:
	case pool.Stale:
		b.Metrics().Error(ex.w.id, metrics.Stale)
	default:
		b.Metrics().Error(ex.w.id, v.reason)
	}
	lease.Done(v.outcome)
	return v
}

// by is the deadline of something that may take d, within the whole request's.
func (ex *exchange) by(d time.Duration) time.Time {
	return sooner(after(ex.w.loop.Now(), d), ex.deadline)
}

// roundTrip sends the request and reads the head of the answer. On success the
// body is still to be read.
func (ex *exchange) roundTrip(up *upConn) failure {
	began, out := ex.w.loop.Now(), ex.message()
	ex.heard, ex.pump = false, nil
	up.c.SetWriteDeadline(ex.by(ex.site.timeouts.Response))
	if up.hello > 0 {
		if _, err := up.c.Write(ex.greeting(up.hello)); err != nil {
			return failure{at: sending, err: err, unsent: true}
		}
	}
	if n, err := up.c.Write(out); err != nil {
		return failure{at: sending, err: err, unsent: n == 0}
	}
	if ex.body.streams() {
		if ex.expects {
			if wanted, f := ex.awaitContinue(up); !wanted {
				return f
			}
		}
		ex.pump = ex.startPump(up)
	}
	if err := ex.awaitAnswer(up, began); err != nil {
		return failure{at: ex.stage(up), err: err}
	}
	at, err := ex.readAnswer(up, began)
	if err != nil && ex.pump != nil {
		ex.pump.end()
		return failure{at: at, err: err, body: ex.pump.fault()}
	}
	return failure{at: at, err: err}
}

// greeting is the PROXY header that tells a backend for whom its connection is.
func (ex *exchange) greeting(version int) []byte {
	ex.extra = proxyproto.Append(ex.extra[:0], version, ex.cc.RemoteAddrPort(), ex.cc.LocalAddrPort())
	return ex.extra
}

// expectWait is how long a backend may think about an expectation. Then the
// client is asked for its body anyway: not every backend knows of it.
const expectWait = 500 * time.Millisecond

// awaitContinue waits for what a backend says to "Expect: 100-continue". It
// reports true when the body is wanted and the client has been told so. When it
// is not, the answer, or the failure, is here (RFC 9110, section 10.1.1).
func (ex *exchange) awaitContinue(up *upConn) (wanted bool, f failure) {
	h := &ex.answer
	deadline := sooner(after(ex.w.loop.Now(), expectWait), ex.by(ex.site.timeouts.Response))
	for range maxInterim {
		err := up.readHead(h, maxResponseLines, deadline, nil)
		switch {
		case isTimeout(err) && !ex.late():
			return ex.sayContinue()
		case err != nil:
			return false, failure{at: ex.stage(up), err: err}
		case h.faulty():
			return false, failure{at: reading, err: errFraming}
		case h.status == http.StatusContinue:
			ex.heard = true
			up.r += h.size
			return ex.sayContinue()
		case h.final():
			return false, failure{at: reading, err: ex.acceptAnswer(up)}
		case ex.sendInterim() != nil:
			return false, failure{at: reading, err: loop.ErrCanceled}
		}
		up.r += h.size
	}
	return false, failure{at: reading, err: errInterim}
}

func (ex *exchange) sayContinue() (bool, failure) {
	ex.expects = false
	if err := ex.cc.send(continueLine, clientWriteIdle, ex.deadline, &ex.pace); err != nil {
		return false, failure{at: waiting, err: loop.ErrCanceled}
	}
	return true, failure{}
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// stage tells whether anything of an answer has come; interim ones are answers.
func (ex *exchange) stage(up *upConn) stage {
	if ex.heard || up.e > up.r {
		return reading
	}
	return waiting
}

// readAnswer reads heads until one is final. Interim answers go straight to the
// client.
func (ex *exchange) readAnswer(up *upConn, began time.Time) (stage, error) {
	h := &ex.answer
	for range maxInterim {
		deadline := ex.deadline
		var sending *pump
		switch p := ex.pump; {
		case p == nil:
			deadline = ex.answerBy(began)
		case p.done:
			deadline = ex.answerBy(p.ended)
		default:
			sending = p
		}
		if err := up.readHead(h, maxResponseLines, deadline, sending); err != nil {
			return ex.stage(up), err
		}
		if h.final() {
			return reading, ex.acceptAnswer(up)
		}
		if h.faulty() {
			return reading, errFraming
		}
		ex.heard = true
		if h.status != http.StatusContinue { // nobody waits for a 100 any more
			if ex.sendInterim() != nil {
				return reading, loop.ErrCanceled
			}
		}
		up.r += h.size
	}
	return reading, errInterim
}

// acceptAnswer decides on the framing of a final answer, and refuses one that
// cannot be an answer to this request.
func (ex *exchange) acceptAnswer(up *upConn) error {
	h := &ex.answer
	if h.status == http.StatusSwitchingProtocols {
		if !ex.upgrade || h.upgrades != 1 || !h.wantsUpgrade || !hasToken(ex.head.upgrade, string(h.upgrade)) {
			return errSwitch
		}
		return nil
	}
	if err := h.decide(ex.isHead); err != nil {
		return err
	}
	if h.bodiless(ex.isHead) && up.e-up.r > h.size {
		return errSurplus
	}
	return nil
}

// sendInterim passes a 1xx on. It must not touch ex.out, where the request
// waits for another attempt.
func (ex *exchange) sendInterim() error {
	ex.heard = true
	if ex.http10 {
		return nil
	}
	ex.told = true
	ex.hideLoad()
	ex.extra = append(ex.answer.appendBodiless(ex.extra[:0]), crlf...)
	return ex.cc.send(ex.extra, clientWriteIdle, ex.deadline, &ex.pace)
}

// maxResponseLines bounds the header lines of an answer.
const maxResponseLines = 256
