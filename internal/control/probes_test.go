package control_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// One probe after another goes over the same connection, unless the
// configuration does not want it.
func TestProbesReuseConnections(t *testing.T) {
	f := func(keys string, want func(connections, probes int32) bool) {
		t.Helper()
		var connections, probes atomic.Int32
		enough := make(chan struct{})
		backend := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if probes.Add(1) == 5 {
				close(enough)
			}
		}))
		backend.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		}
		backend.Start()
		defer backend.Close()
		r := newRig(t, fmt.Sprintf(`
listeners: [{name: web, address: 127.0.0.1:0, routes: [{name: all, pool: p}]}]
pools: {p: {backends: [{address: %q}], health: {active: {interval: 100ms%s}}}}
`, backend.Listener.Addr(), keys)).start()
		<-enough
		r.stop()
		if c, p := connections.Load(), probes.Load(); !want(c, p) {
			t.Errorf("%q: %d connections for %d probes", keys, c, p)
		}
	}
	f("", func(c, p int32) bool { return c < p/2 }) // on a busy machine some are late, and fail
	f(", reuse_connection: false", func(c, p int32) bool { return c >= p })
}
