package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"weir/internal/config"
	"weir/pool"
)

// retryRule is a route's retries, compiled.
type retryRule struct {
	attempts int // after the first
	connect  bool
	reset    bool
	timeout  bool
	statuses []int
	budget   int           // percent of the requests
	perTry   time.Duration // 0: none
	backOff  time.Duration // before the second retry; doubled for each more
}

// mostBackOff bounds the pause before a retry.
const mostBackOff = 250 * time.Millisecond

func compileRetries(r config.Retries) retryRule {
	out := retryRule{attempts: r.Attempts, budget: r.Budget, perTry: r.PerTryTimeout, backOff: r.BackOff}
	for _, on := range r.On {
		switch status, err := strconv.Atoi(on); {
		case err == nil:
			out.statuses = append(out.statuses, status)
		case on == "connect":
			out.connect = true
		case on == "reset":
			out.reset = true
		case on == "timeout":
			out.timeout = true
		}
	}
	return out
}

// again is the retry rule: whether a request may be sent once more after an
// attempt that ended with v. Where nothing was sent any method may; where the
// backend broke off before the head of its answer was whole only methods that can be
// repeated may (RFC 9110, section 9.2.2); a body that has outgrown what is kept of it
// is gone, and a backend that has sent an interim answer is at work.
func (ex *exchange) again(v verdict) bool {
	rule := &ex.site.retry
	switch {
	case !ex.repeatable() || ex.told || ex.late():
		return false
	case v.outcome == pool.Stale:
		return v.nothing || isIdempotent(ex.method)
	case v.nothing:
		return rule.connect
	case !isIdempotent(ex.method):
		return false
	case v.outcome == pool.ResponseTimeout:
		return rule.timeout
	}
	return v.headless && rule.reset && !ex.heard
}

// wantsOther reports whether an answer is one that its route would rather have
// from another backend.
func (ex *exchange) wantsOther() bool {
	rule := &ex.site.retry
	return len(rule.statuses) > 0 && slices.Contains(rule.statuses, ex.answer.status) &&
		ex.repeatable() && !ex.told && isIdempotent(ex.method) && !ex.late()
}

// findOther takes a lease on another backend than b, if there is one and the
// budget allows it. Only then is an answer given up that the client could have
// had. Nothing is counted, and no backend's turn taken, before it is known that
// a retry may be.
func (ex *exchange) findOther(b *pool.Backend) bool {
	if !ex.mayRetry() || !ex.backOff() {
		return false
	}
	tried := ex.tried
	tried.Add(b)
	lease, err := ex.acquire(tried)
	if err != nil {
		return false
	}
	if !ex.repeatable() { // the body went on meanwhile
		lease.Done(pool.ClientClosed)
		return false
	}
	ex.countRetry()
	ex.tried, ex.next = tried, lease
	return true
}

// mayRetry reports whether the route and the budget have a retry left, and the
// request the time for it.
func (ex *exchange) mayRetry() bool {
	w := ex.w
	return ex.retriesLeft > 0 && !ex.tried.Full() && ex.timeFor(0) &&
		w.budgetOf(ex.site.pool).allows(w.loop.Now().Unix(), ex.site.retry.budget)
}

func (ex *exchange) countRetry() {
	ex.retriesLeft--
	ex.w.budgetOf(ex.site.pool).retry(ex.w.loop.Now().Unix())
}

// backOff waits before all retries but the first: a pool that was just asked for
// too much is not helped by being asked again at once. It reports false where the
// request's time does not allow it, or the client is gone meanwhile.
func (ex *exchange) backOff() bool {
	w, rule := ex.w, &ex.site.retry
	nth := rule.attempts - ex.retriesLeft
	if nth == 0 || rule.backOff == 0 {
		return true
	}
	pause := min(rule.backOff<<(nth-1), mostBackOff)
	pause = pause/2 + time.Duration(w.random.Uint64()%uint64(pause/2+1)) // half of it jitter
	if !ex.timeFor(pause) {
		return false
	}
	w.loop.Task().Sleep(pause)
	return !ex.cc.Conn.Lost()
}

// answerBy is when an attempt must have begun to be answered whose request was
// sent at start: a client that sends slowly does not use up a backend's time.
// Where the body is gone there is no other attempt to hurry for.
func (ex *exchange) answerBy(start time.Time) time.Time {
	by := ex.by(ex.site.timeouts.Response)
	if !ex.repeatable() {
		return by
	}
	return sooner(by, after(start, ex.site.retry.perTry))
}

// retryBudget bounds retries to a share of the requests of the last ten seconds,
// so that a pool in trouble is not asked twice as much. It is one loop's, of one
// pool, and outlives configurations as the pool does.
type retryBudget struct {
	seconds [budgetSeconds]budgetSecond
}

type budgetSecond struct {
	at                        int64 // Unix time; another one's count is old
	requests, retries, hedges int
}

const (
	budgetSeconds = 10
	budgetFloor   = 3 // retries a second that are always allowed, counted over ten
	hedgeFloor    = 3 // hedges in ten seconds that are
)

func (b *retryBudget) second(now int64) *budgetSecond {
	s := &b.seconds[uint64(now)%budgetSeconds]
	if s.at != now {
		*s = budgetSecond{at: now}
	}
	return s
}

// request counts a request, whose retries count apart.
func (b *retryBudget) request(now int64) { b.second(now).requests++ }

// retry counts a retry.
func (b *retryBudget) retry(now int64) { b.second(now).retries++ }

// allows reports whether there may be one more retry.
func (b *retryBudget) allows(now int64, percent int) bool {
	sum := b.sum(now)
	return sum.retries < budgetFloor*budgetSeconds || (sum.retries+1)*100 <= sum.requests*percent
}

// sum is what the last ten seconds have had.
func (b *retryBudget) sum(now int64) (sum budgetSecond) {
	for i := range b.seconds {
		if s := &b.seconds[i]; now-s.at < budgetSeconds {
			sum.requests += s.requests
			sum.retries += s.retries
			sum.hedges += s.hedges
		}
	}
	return sum
}

// hedge counts a request that was sent twice.
func (b *retryBudget) hedge(now int64) { b.second(now).hedges++ }

// allowsHedge reports whether one more request may be sent twice.
func (b *retryBudget) allowsHedge(now int64, percent int) bool {
	sum := b.sum(now)
	return percent > 0 && (sum.hedges < hedgeFloor || (sum.hedges+1)*100 <= sum.requests*percent)
}

// idle reports whether nothing was asked for so long that all of it is old.
func (b *retryBudget) idle(now int64) bool {
	for i := range b.seconds {
		if now-b.seconds[i].at < budgetSeconds {
			return false
		}
	}
	return true
}

func (w *worker) budgetOf(p *pool.Pool) *retryBudget {
	b := w.budgets[p]
	if b == nil {
		b = new(retryBudget)
		w.budgets[p] = b
	}
	return b
}

// giveUp makes a backend's connection good for another request after an answer
// that is not wanted, if that is cheap: its body is here already, or it has none.
func (ex *exchange) giveUp(up *upConn) {
	h := &ex.answer
	ex.cc.SetHangupTarget(nil, 0)
	here := int64(up.e-up.r) - int64(h.size)
	whole := h.framing == frameNone && here == 0 || h.framing == frameLength && h.length == here
	if !whole || !h.reusable() || !ex.sentAll() {
		if ex.pump != nil {
			ex.pump.end()
		}
		up.close() // what is left, or too much, must not meet another request
		return
	}
	up.r = up.e
	ex.w.put(up, ex.site.keep.IdlePerBackend, ex.site.keep.IdleTimeout)
}

// isIdempotent reports whether a method can be repeated (RFC 9110, section 9.2.2).
func isIdempotent(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete, "QUERY":
		return true
	}
	return false
}
