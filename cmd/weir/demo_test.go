package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testkit"
)

// screenText collects what the demo prints.
type screenText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screenText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screenText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// The demo as a newcomer without a terminal sees it: it runs, shows its
// backends, and ends by itself with nothing left.
func TestDemo(t *testing.T) {
	testkit.NoLeaks(t)
	dir := t.TempDir()
	o := demoOptions{dir: dir, rate: 100, once: true, listen: "127.0.0.1:0", admin: "127.0.0.1:0"}
	var out screenText
	if err := runDemo(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"steady", "slow", "flaky", "WEIGHT", filepath.Join(dir, "weir.yaml"), "0 failed", "http://127.0.0.1:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out.String())
		}
	}
	if !strings.Contains(out.String(), "up") {
		t.Errorf("no backend is up:\n%s", out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "weir.yaml")); err != nil {
		t.Errorf("--dir was not kept: %v", err)
	}
}

// Ctrl-C is not an error, even before the first picture.
func TestDemoInterrupted(t *testing.T) {
	testkit.NoLeaks(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var out screenText
	if err := runDemo(ctx, demoOptions{rate: 50, listen: "127.0.0.1:0", admin: "127.0.0.1:0"}, &out); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "weir-demo-*")); len(left) > 0 {
		t.Logf("temporary directories of this or other demos: %v", left)
	}
}

func TestQuantile(t *testing.T) {
	old := histogram{bounds: []float64{0.01, 0.1, 1}, cumulative: []uint64{5, 5, 5}, count: 5}
	now := histogram{bounds: old.bounds, cumulative: []uint64{105, 195, 205}, count: 206}
	d := now.minus(old)
	f := func(q float64, want string) {
		t.Helper()
		if got := d.quantile(q); got != want {
			t.Errorf("quantile %v = %s, want %s", q, got, want)
		}
	}
	// 100 up to 10 ms, 90 up to 100 ms, 10 up to 1 s, 1 longer
	f(0.25, "5.03ms")
	f(0.7, "50.7ms")
	f(1, "> 1.00s")
	if got := (histogram{}).quantile(0.5); got != "-" {
		t.Errorf("quantile of nothing = %s", got)
	}
}
