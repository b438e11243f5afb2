package testkit

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/control"
	"weir/internal/loop"
)

// web is one listener before backends.
func web(backends ...*Backend) string {
	var b strings.Builder
	b.WriteString("listeners:\n  - {name: web, address: \"127.0.0.1:0\", protocol: http, routes: [{name: all, pool: web}]}\npools:\n  web:\n    backends:\n")
	for _, k := range backends {
		fmt.Fprintf(&b, "      - {address: %q}\n", k.Addr())
	}
	return b.String()
}

// Both engines: a proxy, a change of its backends and a way back, and nothing
// left when it ends.
func TestStart(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%v", portable), func(t *testing.T) {
			one, two := NewBackend(t, Named("one")), NewBackend(t, Named("two"))
			w := StartOn(t, web(one), loop.Options{Loops: 2, Portable: portable})
			c := Dial(t, w.Addr("web"))
			if r := c.Get("/"); r.Body != "one" {
				t.Fatal(r)
			}
			w.Apply(web(two))
			if r := c.Get("/"); r.Body != "two" {
				t.Error(r)
			}
			if v := w.Rollback(0); v.Version != 3 {
				t.Errorf("rolled back to version %d, want 3", v.Version)
			}
			if r := c.Get("/"); r.Body != "one" {
				t.Error(r)
			}
			if v, err := w.TryApply("listeners: ["); err != nil || v.Result != control.Rejected {
				t.Errorf("a broken configuration is %+v, %v", v, err)
			}
			w.Await("web", one.Addr(), "up")
			w.Close()
			if n := strings.Count(w.AccessLog(), "\n"); n != 3 {
				t.Errorf("%d records in the access log, want 3:\n%s", n, w.AccessLog())
			}
			if got := w.Metric(`weir_config_version`); got != "3" {
				t.Errorf("weir_config_version = %q, want 3", got)
			}
		})
	}
}
