package metrics_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"weir/internal/metrics"
)

// What the counters cost one request that a backend answered at once.
func BenchmarkRequest(b *testing.B) {
	r := metrics.New(2)
	m, up := r.Route("l", "r"), r.Backend("p", "a:1")
	b.ReportAllocs()
	for b.Loop() {
		m.Begin(1)
		up.Conns(1, -1, 1)
		up.Observe(1, 200, 700*time.Microsecond)
		up.Conns(1, 1, -1)
		m.End(1, 200, 800*time.Microsecond, 800*time.Microsecond, 0, 130)
	}
}

func BenchmarkScrape1000Backends(b *testing.B) {
	r := metrics.New(8)
	for i := range 1000 {
		r.Backend("p", fmt.Sprintf("10.0.0.1:%d", i)).Observe(0, 200, time.Millisecond)
	}
	for b.Loop() {
		r.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	}
}
