// Package admin is the HTTP interface for operators: what runs, what ran
// before, and changing it.
//
// It translates between HTTP and internal/control and owns nothing but the
// doors: host, origin and token checks, limits on what is sent, and the log
// line that says who changed what. It is not the hot path and uses net/http.
package admin

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/internal/control"
	"weir/internal/metrics"
)

// Options are what the admin API works with.
type Options struct {
	Control *control.Controller
	Metrics *metrics.Registry
	Log     *zap.Logger

	// Token gives the bearer token that changes, configuration texts and
	// profiles need. It is asked at each use, so that a token can be replaced
	// while Weir runs. An error refuses; nil or "" means no token.
	Token func() (string, error)

	// Ready says whether clients should be sent here: /readyz.
	Ready func() bool

	// Addr is where the API is served. On loopback the Host header must name
	// loopback too; nil leaves that check out.
	Addr net.Addr

	// Upgrade begins to replace this process and delivers what comes of it; the
	// channel is closed at the end and holds all steps. nil: it cannot be done.
	Upgrade func(UpgradeOptions) (<-chan UpgradeStep, error)
}

// api is the state behind the handlers: all of it is set once by New.
type api struct {
	control  *control.Controller
	metrics  http.Handler
	log      *zap.Logger
	token    func() (string, error)
	ready    func() bool
	upgrader func(UpgradeOptions) (<-chan UpgradeStep, error)
	loopback bool
	beats    beatLog
}

// handler answers one request, or returns what is wrong: a *problem, or an
// error that becomes a 500.
type handler func(w http.ResponseWriter, r *http.Request) error

// methods are the handlers of one path, by method. A GET handler serves HEAD.
type methods map[string]handler

// New makes the handler of the admin API.
func New(o Options) http.Handler {
	a := &api{
		control:  o.Control,
		metrics:  o.Metrics.Handler(),
		log:      o.Log,
		token:    o.Token,
		ready:    o.Ready,
		upgrader: o.Upgrade,
		loopback: isLoopback(o.Addr),
	}
	if a.log == nil {
		a.log = zap.NewNop()
	}
	mux := http.NewServeMux()
	for pattern, m := range a.routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, m) })
	}
	return headers(mux)
}

// routes is the whole API.
func (a *api) routes() map[string]methods {
	return map[string]methods{
		"/v1/status":                            {"GET": a.status},
		"/v1/pools":                             {"GET": a.pools},
		"/v1/pools/{pool}":                      {"GET": a.pool},
		"/v1/pools/{pool}/backends/{address}":   {"GET": a.backend, "PUT": a.change},
		heartbeatPath:                           {"POST": a.heartbeat},
		"/v1/config":                            {"GET": a.secret(a.config), "PUT": a.apply},
		"/v1/config/plan":                       {"POST": a.plan},
		"/v1/versions":                          {"GET": a.versions},
		"/v1/versions/{version}":                {"GET": a.secret(a.version)},
		"/v1/versions/{version}/diff/{against}": {"GET": a.secret(a.diff)},
		"/v1/versions/{version}/diff":           {"POST": a.diffSource},
		"/v1/rollback":                          {"POST": a.rollback},
		"/v1/unpin":                             {"POST": a.unpin},
		"/v1/confirm":                           {"POST": a.confirm},
		"/v1/freeze":                            {"POST": a.freeze},
		"/v1/thaw":                              {"POST": a.thaw},
		"/v1/overrides":                         {"GET": a.overrides, "DELETE": a.clearOverrides},
		"/v1/overrides/export":                  {"GET": a.secret(a.exportOverrides)},
		"/v1/trial":                             {"GET": a.trial, "POST": a.endTrial},
		"/v1/replay":                            {"POST": a.replay},
		"/v1/recorded":                          {"GET": a.secret(a.recorded)},
		"/v1/upgrade":                           {"POST": a.upgrade},
		"/v1/events":                            {"GET": a.events},
		"/metrics":                              {"GET": a.exposition},
		"/livez":                                {"GET": a.livez},
		"/readyz":                               {"GET": a.readyz},
		"/debug/pprof/":                         {"GET": a.secret(a.profiles)},
		"/":                                     {},
	}
}

// headers sets what every answer carries. The name is how weir's commands
// know that they talk to Weir.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", "weir")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// serve takes a request through the doors to its handler, answers with what
// went wrong, and logs every attempt to change something.
func (a *api) serve(w http.ResponseWriter, r *http.Request, m methods) {
	start := time.Now()
	err := a.dispatch(w, r, m)
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
	case r.Pattern == heartbeatPath:
		a.logBeat(r, err)
	default:
		a.logChange(r, err, time.Since(start))
	}
	if err != nil {
		writeProblem(w, asProblem(err))
	}
}

// dispatch finds the handler for the method and checks who asks.
func (a *api) dispatch(w http.ResponseWriter, r *http.Request, m methods) error {
	if err := a.checkHost(r); err != nil {
		return err
	}
	if err := a.checkStarted(r); err != nil {
		return err
	}
	if len(m) == 0 {
		return newProblem(http.StatusNotFound, "", "there is nothing at "+r.URL.Path)
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handle, ok := m[method]
	if !ok {
		allow := m.allow()
		w.Header().Set("Allow", allow)
		return newProblem(http.StatusMethodNotAllowed, "", r.URL.Path+" takes "+allow+", not "+printable(r.Method, 16))
	}
	if method == http.MethodGet {
		return handle(w, r)
	}
	if err := checkOrigin(r); err != nil {
		return err
	}
	if err := a.checkToken(w, r); err != nil {
		return err
	}
	return handle(w, r)
}

// checkStarted refuses what is about a configuration while there is none yet.
func (a *api) checkStarted(r *http.Request) error {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return nil
	}
	if version, _ := a.control.Config(); version != 0 {
		return nil
	}
	return newProblem(http.StatusServiceUnavailable, "starting", "Weir starts: no configuration runs yet").titled("Starting")
}

// secret guards a read that shows what a configuration says, or that costs
// much: it wants the token, and no page of another origin may start it.
func (a *api) secret(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := checkOrigin(r); err != nil {
			return err
		}
		if err := a.checkToken(w, r); err != nil {
			return err
		}
		return next(w, r)
	}
}

// allow lists the methods of a path for the Allow header.
func (m methods) allow() string {
	var list []string
	for method := range m {
		list = append(list, method)
		if method == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// logChange says who wanted to change what, and what came of it.
func (a *api) logChange(r *http.Request, err error, took time.Duration) {
	fields := []zap.Field{
		zap.String("author", author(r)), zap.String("method", r.Method),
		zap.String("path", printable(r.URL.Path, 256)), zap.Duration("took", took),
	}
	if err != nil {
		a.log.Warn("admin request refused", append(fields, zap.Int("status", asProblem(err).Status), zap.Error(err))...)
		return
	}
	a.log.Info("admin request", fields...)
}
