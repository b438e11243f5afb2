package admin

import (
	"io"
	"net/http"
	"net/http/pprof"
	"strings"
)

// exposition answers the metrics. They name pools, routes and addresses and
// no secrets, and those who collect them rarely hold tokens: none is needed.
func (a *api) exposition(w http.ResponseWriter, r *http.Request) error {
	a.metrics.ServeHTTP(w, r)
	return nil
}

// livez answers that the process is there. It looks at nothing: a restart
// would not help a Weir whose backends are down.
func (a *api) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, http.StatusOK, "alive\n")
}

// readyz answers whether clients should be sent here: the listeners serve
// and Weir is not on its way out.
func (a *api) readyz(w http.ResponseWriter, _ *http.Request) error {
	if !a.isReady() {
		return writeText(w, http.StatusServiceUnavailable, "not ready\n")
	}
	return writeText(w, http.StatusOK, "ready\n")
}

// isReady reports whether clients should be sent here.
func (a *api) isReady() bool { return a.ready == nil || a.ready() }

// writeText answers a line for probes and people.
func writeText(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
	return nil
}

// profiles answers the profiles of the Go runtime, which move the write bound
// by the seconds that they were asked for.
func (a *api) profiles(w http.ResponseWriter, r *http.Request) error {
	switch strings.TrimPrefix(r.URL.Path, "/debug/pprof/") {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r) // also each profile by name
	}
	return nil
}
