package proxy_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testkit"
)

// The limit of a backend that keeps its latency grows to what is asked of it; what
// comes before that and has no room is refused.
func TestLimitFollowsLatency(t *testing.T) {
	release := make(chan bool)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool { <-release; return testkit.Answer(200, "ok")(x) })
	w := testkit.StartOn(t, setup{backends: at(b), pool: "adaptive_concurrency: true\n"}.yaml(), single)
	var held []*testkit.Client
	for i := range 16 {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		eventually(t, "the request is in work", func() bool { return b.Requests.Load() == int64(i+1) })
		held = append(held, c)
	}
	refused(t, testkit.Get(t, w.Addr("web"), "/"), 503, "all_full")
	close(release)
	for _, c := range held {
		if r := c.Read("GET"); r.Body != "ok" {
			t.Error(r)
		}
	}
	b.Become(testkit.After(20*time.Millisecond, testkit.Answer(200, "ok")))
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 24 {
		c := testkit.Dial(t, w.Addr("web"))
		all.Go(func() {
			for !stop.Load() {
				c.Get("/")
			}
		})
	}
	eventually(t, "the limit grows", func() bool { return w.Backend("web", b.Addr()).ConcurrencyLimit > 24 })
	stop.Store(true)
	all.Wait()
	if got := w.Metric(`weir_backend_concurrency_limit{backend="` + b.Addr() + `",pool="web"}`); got == "" || strings.HasPrefix(got, "1") && len(got) < 3 {
		t.Errorf("the metric says %q", got)
	}
}
