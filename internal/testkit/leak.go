package testkit

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakWait is how long goroutines get to end after a test. They are given
// time because ending is not something that others can wait for: the last
// thing a goroutine does is to say that it is done.
const leakWait = 5 * time.Second

// NoLeaks makes t fail if goroutines that started after this call still run
// when t and the cleanups registered after this call are done. Tests that run
// in parallel with others cannot use it.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		if left := leftOver(before, leakWait); len(left) > 0 {
			t.Errorf("%d goroutines left behind:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
}

// leftOver returns the stacks of goroutines that are not in before and do not
// end within wait.
func leftOver(before map[string]string, wait time.Duration) []string {
	for deadline := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for id, stack := range goroutines() {
			if _, known := before[id]; !known && !harmless(stack) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// harmless says whether a goroutine belongs to the process and not to whoever
// caused its start: fasthttp's clock, the test framework's, the signal reader.
// Those of a Backend end with it, which may be after the check; Close waits.
func harmless(stack string) bool {
	for _, f := range []string{
		"fasthttp.updateServerDate", "testing.(*T).Run", "testing.tRunner(", "testing.runTests", "testing.(*M)",
		"os/signal.loop", "os/signal.signal_recv", "runtime.ensureSigM", "created by testing.", "runtime.gc",
		"testkit.(*Backend)",
	} {
		if strings.Contains(stack, f) {
			return true
		}
	}
	return false
}

// goroutines returns the stack of every goroutine but the caller's, by id.
func goroutines() map[string]string {
	buf := make([]byte, 1<<16)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for i, s := range strings.Split(string(buf), "\n\n") {
		id, _, ok := strings.Cut(strings.TrimPrefix(s, "goroutine "), " ")
		if ok && i > 0 { // the first is the caller
			stacks[id] = strings.TrimSpace(s)
		}
	}
	return stacks
}
