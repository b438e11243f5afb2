//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/testkit"
)

// numbered is configuration k of the crash test: it answers with its number.
func numbered(k int) string {
	return fmt.Sprintf(`
admin: {address: "ADMIN"}
log: {level: info, access: false}
history: {keep: 1000}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: all, respond: {status: 200, body: "%d"}}
`, k)
}

// version is an entry of the history as the admin API tells it.
type version struct {
	Number int
	Hash   string
	Size   int
}

// Weir is killed again and again while configurations are applied. Each time
// it starts with a version that was accepted, no acknowledged version is lost,
// and every version's bytes are what they were.
func TestKilledWhileApplying(t *testing.T) {
	w := start(t, numbered(0))
	applies, kills := few(500), max(5, few(20))
	acknowledged := map[int]int{w.status().Version: 0} // version → configuration
	k, killed := 1, 0
	for ; k <= applies; killed++ {
		k = w.applyUntilKilled(k, applies, k+rand.IntN(2*applies/kills), acknowledged)
		w.kill()
		w.run()
		w.awaitReady()
		w.verify(acknowledged, k)
	}
	t.Logf("%d applies acknowledged, %d kills", len(acknowledged), killed)
}

// applyUntilKilled applies configurations from k to last and kills the process
// somewhere in the middle of applying number victim or a later one. It returns
// the first that was not acknowledged.
func (w *weir) applyUntilKilled(k, last, victim int, acknowledged map[int]int) int {
	for ; k <= last; k++ {
		if k == victim {
			process := w.cmd.Process
			time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, func() { _ = process.Kill() })
		}
		n, err := w.apply(k)
		if err != nil {
			return k
		}
		acknowledged[n] = k
	}
	return k
}

// apply hands configuration k to the admin API and returns the version that
// it became.
func (w *weir) apply(k int) (int, error) {
	code, answer, err := w.call("PUT", "/v1/config", w.fill(numbered(k)))
	if err != nil {
		return 0, err
	}
	if code != 200 {
		w.t.Fatalf("PUT /v1/config: %d %s", code, answer)
	}
	var verdict struct {
		Result  string
		Version int
	}
	decode(w.t, answer, &verdict)
	if verdict.Result != "applied" && verdict.Result != "unchanged" {
		w.t.Fatalf("PUT /v1/config of configuration %d: %s", k, answer)
	}
	return verdict.Version, nil
}

// verify checks what a restarted Weir runs and remembers. Configuration
// inFlight may have been recorded, and then it runs, or not.
func (w *weir) verify(acknowledged map[int]int, inFlight int) {
	w.t.Helper()
	var list struct{ Versions []version }
	w.get("/v1/versions", &list)
	byNumber := make(map[int]version)
	for i, v := range list.Versions {
		if i > 0 && v.Number != list.Versions[i-1].Number+1 {
			w.t.Errorf("version %d follows %d", v.Number, list.Versions[i-1].Number)
		}
		byNumber[v.Number] = v
	}
	for n, k := range acknowledged {
		v, ok := byNumber[n]
		if want := sha256.Sum256([]byte(w.fill(numbered(k)))); !ok || v.Hash != hex.EncodeToString(want[:]) {
			w.t.Errorf("version %d (configuration %d) was acknowledged; the history has %+v", n, k, v)
		}
	}
	newest := list.Versions[len(list.Versions)-1]
	code, source, err := w.call("GET", fmt.Sprintf("/v1/versions/%d?raw=1", newest.Number), "")
	if sum := sha256.Sum256(source); err != nil || code != 200 || hex.EncodeToString(sum[:]) != newest.Hash {
		w.t.Errorf("version %d: %d, %v, %d bytes that do not match their hash", newest.Number, code, err, len(source))
	}
	running, body := w.status().Version, testkit.Get(w.t, w.listen, "/").Body
	if byNumber[running].Number != running {
		w.t.Errorf("version %d runs, which is not in the history", running)
	}
	if k, ok := acknowledged[running]; ok && body != fmt.Sprint(k) {
		w.t.Errorf("version %d runs, which is configuration %d, but %q answers", running, k, body)
	}
	if running < maxKey(acknowledged) {
		w.t.Errorf("version %d runs although %d was acknowledged", running, maxKey(acknowledged))
	}
	if _, ok := acknowledged[running]; !ok && body != fmt.Sprint(inFlight) {
		w.t.Errorf("version %d answers %q; it was never acknowledged, nor is it number %d, which was in flight", running, body, inFlight)
	}
}

func maxKey(m map[int]int) (n int) {
	for k := range m {
		n = max(n, k)
	}
	return n
}
