package proxy_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// Shutdown accepts nothing more, ends what is idle and waits for what is not:
// a request, and a tunnel.
func TestShutdownDrains(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		release := make(chan bool)
		b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
			"/":     testkit.Answer(200, "ok"),
			"/ws":   testkit.WebSocket,
			"/slow": func(x *testkit.Exchange) bool { <-release; return testkit.Answer(200, "slow")(x) },
		}))
		w := testkit.StartOn(t, before(b), o)
		address := w.Addr("web")
		idle, busy := testkit.Dial(t, address), testkit.Dial(t, address)
		idle.Get("/")
		tunnel := upgrade(t, w, "")
		busy.Send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
		eventually(t, "the request is in work", func() bool { return b.Requests.Load() == 3 })
		if !w.Proxy.Ready() || w.Proxy.Status().InFlight != 2 {
			t.Errorf("before: ready %v, %+v", w.Proxy.Ready(), w.Proxy.Status())
		}

		short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := w.Proxy.Shutdown(short); err == nil {
			t.Error("Shutdown did not wait for the request")
		}
		done := make(chan error, 1)
		go func() { done <- w.Proxy.Shutdown(context.Background()) }()
		if !idle.Closed() {
			t.Error("an idle connection stays")
		}
		if w.Proxy.Ready() {
			t.Error("ready while it drains")
		}
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Error("a connection was accepted")
		}
		close(release)
		if r := busy.Read("GET"); r.Body != "slow" || r.Header("Connection") != "close" {
			t.Error(r)
		}
		echoes(t, tunnel, "still here")
		select {
		case err := <-done:
			t.Errorf("Shutdown did not wait for the tunnel: %v", err)
		default:
		}
		tunnel.CloseWrite()
		if _, err := rest(tunnel); err != nil {
			t.Error(err)
		}
		if err := await(t, done, "end of Shutdown"); err != nil {
			t.Error(err)
		}
		eventually(t, "no connection to the backend is left", func() bool { return b.Open.Load() == 0 })
	})
}

// A request that the end of the grace period cuts off is in the access log like
// any other, and nobody else is blamed for it.
func TestCutOffIsLogged(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.NeverAnswer)
	w := testkit.Start(t, `
listeners: [{name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}]
pools: {api: {backends: [{address: "`+backend.Addr()+`"}]}}
`)
	client := testkit.Dial(t, w.Addr("web"))
	client.Send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
	for len(backend.Heads()) == 0 {
		client.Silent(1e6) // the backend is about to have the request
	}
	w.Close()
	log := w.AccessLog()
	for _, want := range []string{`"path":"/cut"`, `"reason":"shutting_down"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the access log lacks %s:\n%s", want, log)
		}
	}
}
