package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"weir/internal/metrics"
	"weir/internal/testkit"
)

// docs/operations.md is a contract: what it does not name, nobody can rely on.
func TestOperationsNamesEverything(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	named := func(what, name string) {
		t.Helper()
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s %s is not in docs/operations.md", what, name)
		}
	}
	b := testkit.NewBackend(t, testkit.Named("b"))
	w := start(t, oneBackend(b.Addr(), ""))
	testkit.Get(t, w.web(t), "/")
	_, exposition := over(t, w.admin, "/metrics")
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, "# HELP weir_"); ok {
			name, _, _ := strings.Cut(rest, " ")
			named("metric", "weir_"+name)
		}
	}
	later := []metrics.Reason{metrics.RateLimited, metrics.Denied} // nothing makes them yet
	for r := metrics.NoRoute; r <= metrics.Stale; r++ {
		if !slices.Contains(later, r) {
			named("reason", r.String())
		}
	}
	w.stop()
	var record map[string]any
	if err := json.Unmarshal([]byte(w.access.String()), &record); err != nil {
		t.Fatalf("access log %q: %v", w.access, err)
	}
	for field := range record {
		named("access-log field", field)
	}
	for _, cmd := range rootCommand().Commands() {
		if !strings.Contains(page, "`weir "+cmd.Name()) && !strings.Contains(page, "`"+cmd.Name()) {
			t.Errorf("command %s is not in docs/operations.md", cmd.Name())
		}
	}
}
