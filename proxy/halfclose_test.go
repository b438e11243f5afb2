package proxy_test

import (
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// A client that has closed its side wants its answers all the same.
func TestHalfClosedClients(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
			"/fast":  testkit.Answer(200, "fast"),
			"/slow":  testkit.After(300*time.Millisecond, testkit.Answer(200, "slow")),
			"/drip":  testkit.Drip(strings.Repeat("drip", 5), 100*time.Millisecond),
			"/large": testkit.Answer(200, noise(2_000_000)),
			"/never": testkit.NeverAnswer,
			"/hash":  hashing,
		}))
		w := testkit.StartOn(t, alone(b, "timeouts: {client_half_closed: 700ms}"), o)
		f := func(text string, bodies ...string) {
			t.Helper()
			c := testkit.Dial(t, w.Addr("web"))
			c.Send(text)
			c.CloseWrite()
			for _, want := range bodies {
				if r := c.Read("GET"); r.Status != 200 || r.Body != want {
					t.Errorf("%.60q: %.200v", text, r)
				}
			}
			if !c.Closed() {
				t.Errorf("%.60q: the connection goes on", text)
			}
		}
		get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
		f(get("/fast"), "fast")
		f(get("/slow"), "slow")
		f(get("/drip"), strings.Repeat("drip", 5))
		f(get("/large"), noise(2_000_000))
		f(get("/fast")+get("/slow")+get("/fast"), "fast", "slow", "fast")
		f("POST /hash HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"+noise(100_000), digest(noise(100_000)))
		f("POST /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked(noise(100_000), 1000), digest(noise(100_000)))

		// but a backend does not work for ever for somebody who may be gone
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(get("/never"))
		eventually(t, "the request is at the backend", func() bool { return strings.Contains(b.Last(), "/never") })
		start := time.Now()
		c.CloseWrite()
		if all, _ := rest(c); all != "" {
			t.Errorf("answered: %q", all)
		}
		if took := time.Since(start); took < 600*time.Millisecond {
			t.Errorf("given up after %v", took)
		}
		eventually(t, "the backend is left alone", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		if s := w.Backend("web", b.Addr()); s.Errors != 0 {
			t.Errorf("it counts against the backend: %+v", s)
		}
	})
}
