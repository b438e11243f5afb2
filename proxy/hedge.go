package proxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/config"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/pool"
)

// hedgeRule is a route's hedging, compiled.
type hedgeRule struct {
	after      time.Duration // or, if that is 0:
	percentile int           // of the route's own answers of late
	budget     int           // percent of the requests
}

// compileHedge returns nil where nothing is hedged.
func compileHedge(h config.Hedge) *hedgeRule {
	if h.After == "" {
		return nil
	}
	out := &hedgeRule{budget: h.Budget}
	if digits, ok := strings.CutPrefix(h.After, "p"); ok {
		out.percentile, _ = strconv.Atoi(digits) // config has read both already
	} else {
		out.after, _ = time.ParseDuration(h.After)
	}
	return out
}

// hedge is the second copy of a request whose first one is not answered yet
// (Dean and Barroso, The Tail at Scale, 2013). It runs on a coroutine of its own
// and may outlive the exchange, of which it therefore holds nothing: both
// belong to one loop, so that whoever looks at over, done or won sees it as it is.
type hedge struct {
	w     *worker
	task  *loop.Task // the exchange's, woken at the end
	rival *loop.Conn // carries the first copy
	lease pool.Lease
	rule  *retryRule
	keep  config.KeepAlive
	head  []byte // all that is sent

	traffic *metrics.Pool

	connectBy, answerBy time.Time

	hurryBy time.Time // when the client's own time is over; zero: it is the route's that counts

	up      *upConn
	began   time.Time
	outcome pool.Outcome // of its answer, if it is an unwanted one
	f       failure      // why there is no answer
	over    bool         // the exchange does not want it any more
	done    bool         // it has ended
	won     bool         // with an answer that the exchange has to take
}

// awaitAnswer waits for the first byte of an answer to a request that has been
// sent. Where that takes long for its route, another backend is asked as well;
// then the error may be that the other one was first (settleHedge).
func (ex *exchange) awaitAnswer(up *upConn, began time.Time) error {
	due := ex.hedgeDue(began)
	if due.IsZero() {
		return nil
	}
	by := ex.answerBy(began)
	if err := up.fill(sooner(due, by)); !isTimeout(err) {
		return err
	}
	if by.IsZero() || ex.w.loop.Now().Before(by) {
		ex.startHedge(up)
	}
	err := up.fill(by)
	if err == nil && ex.hedge != nil {
		ex.hedge.giveUp()
		ex.hedge = nil
	}
	return err
}

// hedgeDue is when a request that was sent at began has waited for long; zero if
// it is not to be hedged. Hedged is what can be sent twice and is held whole,
// and only its first attempt: retries are copies enough.
func (ex *exchange) hedgeDue(began time.Time) time.Time {
	rule := ex.site.hedge
	if rule == nil || len(ex.attempts) > 1 || ex.body.streams() || ex.upgrade || !isIdempotent(ex.method) {
		return time.Time{}
	}
	d := rule.after
	if d == 0 {
		d = ex.w.recentOf(ex.site.metrics).percentile(rule.percentile, began)
	}
	return after(began, d)
}

// startHedge asks another backend, if there is one and the budget allows it.
func (ex *exchange) startHedge(up *upConn) {
	w := ex.w
	budget, now := w.budgetOf(ex.site.pool), w.loop.Now()
	if !budget.allowsHedge(now.Unix(), ex.site.hedge.budget) {
		return
	}
	tried := ex.tried
	tried.Add(up.bucket.backend)
	busy := ex.bound.busy
	lease, err := ex.acquire(tried)
	ex.bound.busy = busy // what becomes of the client's cookie is not up to a copy
	if err != nil {
		return
	}
	budget.hedge(now.Unix())
	h := &hedge{
		w: w, task: w.loop.Task(), rival: up.c, lease: lease, rule: &ex.site.retry, keep: ex.site.keep, traffic: ex.site.traffic, began: now,
		connectBy: ex.by(ex.site.timeouts.Connect), answerBy: ex.by(ex.site.timeouts.Response),
	}
	if ex.hurried {
		h.hurryBy = ex.deadline
	}
	if ex.site.hello > 0 {
		h.head = append(h.head, ex.greeting(ex.site.hello)...)
	}
	h.head = append(h.head, ex.message()...)
	ex.hedge = h
	w.loop.Go(h.run)
}

// run is the hedge's coroutine.
func (h *hedge) run() {
	h.f = h.ask()
	h.done = true
	switch {
	case h.over:
		h.drop()
	case h.f.err == nil:
		h.won = true
		h.rival.Cancel() // ends the wait of the exchange
	default:
		h.fail()
	}
	h.task.Wake()
}

// ask sends the copy and waits for the head of an answer. Only a good one is
// taken: an error that comes quickly is not what anybody waits for.
func (h *hedge) ask() failure {
	how := anyIdle
	if h.keep.IdlePerBackend == 0 {
		how = freshOnly
	}
	up, err := h.w.take(h.lease.Backend(), how, h.connectBy)
	if err != nil {
		return failure{at: dialing, err: err}
	}
	h.up = up
	if h.over {
		return failure{at: dialing, err: loop.ErrCanceled, unsent: true}
	}
	up.c.SetWriteDeadline(h.answerBy)
	if n, err := up.c.Write(h.head); err != nil {
		return failure{at: sending, err: err, reused: up.reused, unsent: n == 0}
	}
	var answer responseHead
	for range maxInterim {
		if err := up.readHead(&answer, maxResponseLines, h.answerBy, nil); err != nil {
			at := waiting
			if up.e > up.r {
				at = reading
			}
			return failure{at: at, err: err, reused: up.reused}
		}
		if answer.final() {
			return h.judge(answer.status)
		}
		if answer.faulty() {
			return failure{at: reading, err: errFraming}
		}
		up.r += answer.size
	}
	return failure{at: reading, err: errInterim}
}

func (h *hedge) judge(status int) failure {
	h.outcome = h.lease.Answered(status)
	if h.outcome == pool.BadStatus || cannotServe(status) || slices.Contains(h.rule.statuses, status) {
		return failure{at: reading, err: errUnwanted}
	}
	return failure{}
}

// cannotServe lists the statuses by which a backend, or a proxy in front of it,
// says that it cannot serve.
func cannotServe(status int) bool { return status >= 502 && status <= 504 }

// drop ends a hedge that nobody wants, which says nothing about its backend. A
// connection on which nothing was sent is good for another request.
func (h *hedge) drop() {
	switch {
	case h.up == nil:
	case h.f.at == dialing && h.f.unsent:
		h.w.put(h.up, h.keep.IdlePerBackend, h.keep.IdleTimeout)
	default:
		h.up.close()
	}
	h.count(metrics.HedgeLost)
	h.lease.Done(pool.ClientClosed)
}

// fail ends a hedge that got no good answer.
func (h *hedge) fail() {
	if h.up != nil {
		h.f.parted = h.up.parted
		h.up.close()
	}
	b, v := h.lease.Backend(), classify(h.f)
	if h.f.err == errUnwanted {
		v = verdict{outcome: h.outcome, reason: metrics.BadStatus}
	}
	if !h.hurryBy.IsZero() && !h.w.loop.Now().Before(h.hurryBy) {
		v = v.excused()
	}
	if v.outcome != pool.ClientClosed && v.outcome != pool.Drained {
		b.Metrics().Error(h.w.id, v.reason)
	}
	h.count(metrics.HedgeFailed)
	h.lease.Done(v.outcome)
}

func (h *hedge) count(r metrics.HedgeResult) { h.traffic.Hedge(h.w.id, r) }

// giveUp is for an exchange that has its answer, or its client no longer.
func (h *hedge) giveUp() {
	h.over = true
	switch {
	case h.won:
		h.drop()
	case !h.done && h.up != nil:
		h.up.c.Cancel()
	}
}

// settleHedge decides between the two copies of a request, when the wait for the
// first one has ended with f, a failure or that it was overtaken. What it returns
// is what the request goes on with.
func (ex *exchange) settleHedge(up *upConn, lease pool.Lease, start time.Time, f failure) (*upConn, pool.Lease, time.Time, failure) {
	h := ex.hedge
	ex.hedge = nil
	if !h.won && !ex.awaitHedge(h, f) {
		h.giveUp()
		return up, lease, start, f
	}
	if !h.won {
		ex.tried.Add(h.lease.Backend())
		return up, lease, start, f
	}
	ex.drop(up)
	ex.tried.Add(lease.Backend())
	if isCanceled(f.err) {
		ex.overtaken(lease, start)
	} else {
		f.reused, f.parted = up.reused, up.parted
		ex.failed(lease, f, start)
	}
	h.count(metrics.HedgeWon)
	h.up.ex = ex                                          // from here on a drain may part them
	ex.bound.busy = ex.bound.busy || len(ex.bound.id) > 0 // the client's own backend is slow, not gone
	ex.attempts = append(ex.attempts, attempt{backend: h.lease.Backend(), connect: h.up.connect})
	ex.cc.SetHangupTarget(h.up.c, ex.lc.timeouts.ClientHalfClosed)
	at, err := ex.readAnswer(h.up, h.began)
	return h.up, h.lease, h.began, failure{at: at, err: err}
}

// awaitHedge waits for the second copy after the first one failed. It reports
// false where the client does not wait any more.
func (ex *exchange) awaitHedge(h *hedge, f failure) bool {
	if isCanceled(f.err) {
		return false
	}
	ex.cc.SetHangupTask(h.task, ex.lc.timeouts.ClientHalfClosed)
	defer ex.cc.SetHangupTarget(nil, 0)
	for !h.done {
		h.task.Park(time.Time{}) // it has deadlines of its own
		if h.task.Canceled() {
			return false
		}
	}
	return true
}

// overtaken enters an attempt that was given up because another one was quicker.
func (ex *exchange) overtaken(lease pool.Lease, start time.Time) {
	at := &ex.attempts[len(ex.attempts)-1]
	at.reason, at.took = metrics.Hedged, ex.w.loop.Now().Sub(start)
	ex.remember(at.took)
	lease.Outlasted(at.took)
	lease.Done(pool.ClientClosed)
}

// remember enters how long the first attempt of a request took to its answer.
func (ex *exchange) remember(d time.Duration) {
	if rule := ex.site.hedge; rule != nil && rule.percentile > 0 && len(ex.attempts) == 1 {
		ex.w.recentOf(ex.site.metrics).add(d, ex.w.loop.Now())
	}
}
