package proxy_test

import (
	"testing"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// What ejects a backend is what health.passive.count lists, and never a 4xx or a
// client that leaves.
func TestWhatEjects(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		f := func(count string, m testkit.Manner, errors uint64, cause string) {
			t.Helper()
			bad, good := testkit.NewBackend(t, m), testkit.NewBackend(t, testkit.Answer(200, "good"))
			w := testkit.StartOn(t, setup{backends: at(bad, good), route: "retries: {attempts: 0}",
				pool: "health: {passive: {consecutive_errors: 3, count: " + count + "}}\n"}.yaml(), o)
			for range 6 { // every other one
				if _, err := get(t, w); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all have been counted", func() bool { return w.Backend("web", bad.Addr()).Requests == 3 })
			if errors == 3 {
				eventually(t, "ejection", func() bool { return w.Backend("web", bad.Addr()).Ejected })
			}
			if b := w.Backend("web", bad.Addr()); b.Errors != errors || b.Ejected != (errors == 3) || b.Ejected && b.Cause != cause {
				t.Errorf("%s: %d errors, %s, %q; want %d errors, %q", count, b.Errors, b.State, b.Cause, errors, cause)
			}
			w.Close()
		}
		f("[500]", testkit.Answer(500, "no"), 3, "3 errors in a row, the last status 500")
		f("[connect, 500]", testkit.Answer(503, "no"), 0, "")
		f("[connect, 503]", testkit.Answer(503, "no"), 3, "3 errors in a row, the last status 503")
		f("[connect, timeout, reset, bad_response, 500]", testkit.Answer(404, "no"), 0, "")
		f("[reset]", testkit.CloseBeforeHead, 3, "3 errors in a row, the last upstream_reset")
		f("[connect, timeout, bad_response, 502]", testkit.CloseBeforeHead, 0, "")
		f("[bad_response]", testkit.Raw("nonsense\r\n\r\n", false), 3, "3 errors in a row, the last bad_response")
		f("[reset, 502]", testkit.Raw("nonsense\r\n\r\n", false), 0, "")
	})
}

// A client that leaves says nothing about the backend.
func TestClientsThatLeaveEjectNobody(t *testing.T) {
	slow, other := testkit.NewBackend(t, testkit.NeverAnswer), testkit.NewBackend(t, testkit.NeverAnswer)
	w := testkit.StartOn(t, setup{backends: at(slow, other), pool: "health: {passive: {consecutive_errors: 1, count: [connect, timeout, reset, bad_response, 500, 599]}}\n"}.yaml(), single)
	for i := range 6 {
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		eventually(t, "it is with a backend", func() bool { return slow.Requests.Load()+other.Requests.Load() > int64(i) })
		c.Reset()
	}
	for _, b := range []*testkit.Backend{slow, other} {
		eventually(t, "no lease is out", func() bool { return w.Backend("web", b.Addr()).InFlight == 0 })
		if s := w.Backend("web", b.Addr()); s.Errors != 0 || s.State != "up" || s.Requests == 0 {
			t.Errorf("%+v", s)
		}
	}
}
