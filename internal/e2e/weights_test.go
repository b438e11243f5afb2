//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
)

// threeWeighted is backends a, b and c with weights 5, 3 and 2.
func threeWeighted(a, b, c *nginx) string {
	return fmt.Sprintf(`
admin: {address: "ADMIN"}
log: {level: info, access: false}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: all, pool: web}
pools:
  web:
    backends:
      - {address: %s, weight: 5}
      - {address: %s, weight: 3}
      - {address: %s, weight: 2}
    health:
      active: {type: http, path: /healthz, interval: 1s, timeout: 500ms, fall: 2, rise: 1}
`, a.address, b.address, c.address)
}

// Weights are kept exactly: to the request over whole cycles on one
// connection, and to a cycle of the schedule per loop over many.
func TestWeights(t *testing.T) {
	a, b, c := startThree(t)
	w := start(t, threeWeighted(a, b, c))
	for _, n := range []*nginx{a, b, c} {
		eventually(t, 10e9, n.name+" is up", func() bool { return w.backendState("web", n.address) == "up" })
	}
	f := func(connections, slack int) {
		t.Helper()
		counts := w.count(10_000, connections)
		t.Logf("over %d connections: %v", connections, counts)
		for name, weight := range map[string]int{"a": 5, "b": 3, "c": 2} {
			if diff := counts[name] - 1000*weight; max(diff, -diff) > slack*weight {
				t.Errorf("%s: %d of 10,000 over %d connections, want %d ± %d", name, counts[name], connections, 1000*weight, slack*weight)
			}
		}
	}
	f(1, 0)
	f(40, runtime.GOMAXPROCS(0)) // of each loop one cycle may be unfinished
}

// count sends n requests over some connections and counts who answered.
func (w *weir) count(n, connections int) map[string]int {
	w.t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var all sync.WaitGroup
	counts := make(map[string]int)
	for i := range connections {
		share := n / connections
		if i < n%connections {
			share++
		}
		all.Go(func() {
			for range share {
				resp, err := client.Get("http://" + w.listen + "/")
				if err != nil {
					w.t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				mu.Lock()
				counts[resp.Header.Get("X-Backend")]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return counts
}
