package proxy

import (
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"weir/internal/metrics"
)

// record is one request in the access log. It owns its bytes, so that it can
// wait in a ring when the request is long over.
type record struct {
	at     time.Time
	text   []byte // the strings of the client, one after the other
	ends   [texts]int
	client netip.Addr

	listener, route, pool string
	proto                 string
	status                int
	reason                metrics.Reason
	detail                string
	bytesIn, bytesOut     int64
	duration, queued      time.Duration
	version               int
	attempts              []loggedAttempt
}

// The strings in record.text.
const (
	textID = iota
	textMethod
	textHost
	textPath
	textAgent
	textReferer
	texts
)

type loggedAttempt struct {
	backend              string
	status               int
	reason               metrics.Reason
	took, connect, first time.Duration
}

// observe counts a request and logs it.
func (ex *exchange) observe() {
	w, now := ex.w, ex.w.loop.Now()
	if !ex.begun {
		ex.count()
	}
	whole := now.Sub(ex.start)
	first := whole
	if ex.first > 0 {
		first = ex.first
	}
	ex.routeMetrics().End(w.id, ex.status, first, whole, ex.bytesIn, ex.bytesOut)
	if ex.site != nil && ex.site.watch != nil {
		ex.site.watch.End(w.id, ex.status, first, whole, 0, 0)
	}
	ex.recordHead()
	if ex.reason != metrics.NoReason {
		w.s.metrics.Error(w.id, ex.reason)
	}
	if ex.cc.tunnel == nil && w.s.access.wants(w) {
		if slot := w.log.next(); slot != nil {
			ex.describe(slot)
			w.log.publish()
		}
	}
}

// record describes the request for a tunnel, which logs at its end; nil where
// it is not to be logged.
func (ex *exchange) record() *record {
	if !ex.w.s.access.wants(ex.w) {
		return nil
	}
	r := new(record)
	ex.describe(r)
	return r
}

// describe fills r. Nothing is allocated once r has been used a few times.
func (ex *exchange) describe(r *record) {
	*r = record{
		at: ex.start, text: r.text[:0], client: ex.client, listener: ex.lc.name, proto: "HTTP/1.1",
		status: ex.status, reason: ex.reason, detail: ex.detail, bytesIn: ex.bytesIn, bytesOut: ex.bytesOut,
		duration: ex.w.loop.Now().Sub(ex.start), queued: ex.queued, version: ex.snp.Version(), attempts: r.attempts[:0],
	}
	if ex.http10 {
		r.proto = "HTTP/1.0"
	}
	if ex.site != nil {
		r.route, r.pool = ex.site.name, ex.site.poolName
	}
	agent, _ := ex.head.Get("User-Agent", 0)
	referer, _ := ex.head.Get("Referer", 0)
	for i, s := range [texts][]byte{ex.id, ex.method, ex.host, ex.target.path, agent, referer} {
		r.text = append(r.text, s...)
		r.ends[i] = len(r.text)
	}
	for i := range ex.attempts {
		a := &ex.attempts[i]
		r.attempts = append(r.attempts, loggedAttempt{
			backend: a.backend.Address(), status: a.status, reason: a.reason,
			took: a.took, connect: a.connect, first: a.first,
		})
	}
}

func (r *record) str(i int) string {
	from := 0
	if i > 0 {
		from = r.ends[i-1]
	}
	return string(r.text[from:r.ends[i]])
}

// write formats r. The names of the fields are a contract: docs/operations.md.
func (r *record) write(out *zap.Logger, f []zap.Field) []zap.Field {
	ce := out.Check(zap.InfoLevel, "")
	if ce == nil {
		return f
	}
	ce.Time = r.at
	client := "unix"
	if r.client.IsValid() {
		client = r.client.String()
	}
	f = append(f,
		zap.String("id", r.str(textID)), zap.String("client_ip", client),
		zap.String("method", r.str(textMethod)), zap.String("host", r.str(textHost)),
		zap.String("path", r.str(textPath)), zap.String("proto", r.proto),
		zap.Int("status", r.status),
		zap.Int64("bytes_in", r.bytesIn), zap.Int64("bytes_out", r.bytesOut),
		zap.Float64("duration", r.duration.Seconds()))
	f = r.backendFields(f)
	f = append(f,
		zap.String("listener", r.listener), zap.String("route", r.route), zap.String("pool", r.pool),
		zap.String("reason", r.reason.String()), zap.String("detail", r.detail), zap.Int("config_version", r.version),
		zap.String("user_agent", r.str(textAgent)), zap.String("referer", r.str(textReferer)))
	ce.Write(f...)
	return f
}

// backendFields tell of the attempts: of the last one in fields of its own.
func (r *record) backendFields(f []zap.Field) []zap.Field {
	var last loggedAttempt
	if n := len(r.attempts); n > 0 {
		last = r.attempts[n-1]
	}
	return append(f,
		zap.Float64("t_queue", r.queued.Seconds()),
		zap.Float64("t_connect", last.connect.Seconds()),
		zap.Float64("t_ttfb", last.first.Seconds()),
		zap.Float64("overhead", max(r.duration-r.upstream()-r.queued, 0).Seconds()),
		zap.String("backend", last.backend),
		zap.Array("attempts", attemptList(r.attempts)))
}

// upstream is the time spent on backends; the rest is Weir's and the client's.
func (r *record) upstream() (d time.Duration) {
	for _, a := range r.attempts {
		d += a.took
	}
	return d
}

type attemptList []loggedAttempt

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (l attemptList) MarshalLogArray(e zapcore.ArrayEncoder) error {
	for i := range l {
		if err := e.AppendObject(&l[i]); err != nil {
			return err
		}
	}
	return nil
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (a *loggedAttempt) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("backend", a.backend)
	e.AddInt("code", a.status)
	e.AddString("error", a.reason.String())
	e.AddFloat64("dur", a.took.Seconds())
	return nil
}
