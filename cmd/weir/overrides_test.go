package main

import (
	"strings"
	"testing"

	"weir/internal/control"
)

func TestOverridesFromTheCommandLine(t *testing.T) {
	const pools = `  api:
    backends: # ours
      - {address: "127.0.0.1:1"}
      - &x {address: "127.0.0.1:2", weight: 5}
`
	w := start(t, pools)
	w.do(t, "weight", "api/127.0.0.1:1", "7", "--for", "2h", "--why", "new disk").want(t, 0, "weight 7 (configured 1)")
	w.do(t, "status").want(t, 0, "OVERRIDE", "weight 7", "new disk")
	if got := w.do(t, "overrides", "export").want(t, 0).out; got != strings.Replace(yaml(w.dir, pools), `1"}`, `1", weight: 7}`, 1) {
		t.Errorf("export:\n%s", got)
	}
	w.do(t, "maintain", "api/127.0.0.1:2", "--for", "30m", "--why", "kernel").want(t, 0, "maintenance")
	w.do(t, "overrides").want(t, 0, "maintenance", "kernel", "api/127.0.0.1:2")
	var list struct{ Overrides []control.Override }
	w.do(t, "overrides", "--json").want(t, 0).decode(t, &list)
	if len(list.Overrides) != 2 || list.Overrides[1].By == "" || list.Overrides[1].Until.IsZero() {
		t.Errorf("overrides --json: %+v", list)
	}
	w.do(t, "overrides", "export").want(t, 1, "not written: api/127.0.0.1:2: it has the anchor &x", "weight: 7")
	w.do(t, "overrides", "clear", "api/127.0.0.1:2").want(t, 0, "1 override lifted")
	w.do(t, "weight", "api/127.0.0.1:1", "configured").want(t, 0, "weight 1, as configured")
	w.do(t, "drain", "api/127.0.0.1:1").want(t, 0, "drain")
	w.do(t, "overrides", "clear").want(t, 0, "1 override lifted")
	if out := w.do(t, "status").want(t, 0).out; strings.Contains(out, "OVERRIDE") {
		t.Errorf("status:\n%s", out)
	}
	w.do(t, "weight", "api/127.0.0.1:1", "many").want(t, 1, `"many" is not a weight`)
	w.do(t, "weight", "api/127.0.0.1:1", "70000").want(t, 1, "want 0 to 65535")
	w.do(t, "weight", "127.0.0.1:1", "7").want(t, 1, "is not POOL/BACKEND")
	w.do(t, "overrides", "clear", "api/nobody").want(t, 1, "no backend")
}
