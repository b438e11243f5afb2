//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/bench"
	"weir/internal/testkit"
)

// How long TestNoChangeHurts is; docs/changes.md has the long run.
var (
	applies   = flag.Int("applies", 60, "configurations that TestNoChangeHurts applies")
	rollbacks = flag.Int("rollbacks", 10, "rollbacks among them")
	upgrades  = flag.Int("upgrades", 2, "upgrades of the binary among them")
	seed      = flag.Uint64("seed", 1, "of the changes that TestNoChangeHurts makes")
	pace      = flag.Duration("pace", 200*time.Millisecond, "from one of its changes to the next: the guard looks as often")
)

// Open-loop load on kept connections, new connections all the time, and fifty
// WebSockets, while everything about the configuration changes at random, and the
// binary is replaced: no request fails, no connection is reset, no WebSocket closes
// but those that a process which leaves has sent away with a 1001. The guard is on
// and finds nothing.
func TestNoChangeHurts(t *testing.T) {
	e := newEditor(t, *seed)
	w := installed(t, e.config(), "--grace", "5s")
	sockets := openSockets(t, w.listen, 50)
	kept := w.load(bench.Options{Connections: 16, Rate: 300})
	fresh := w.load(bench.Options{Connections: 8, Rate: 30, Header: []string{"Connection: close"}})

	r := &changes{weir: w, edits: e, version: w.status().Version}
	began := time.Now()
	next := time.NewTicker(*pace)
	defer next.Stop()
	for _, do := range r.schedule() {
		<-next.C
		do()
	}
	t.Logf("%d applies in the mean of %v, %d rollbacks in the mean of %v, %d upgrades, %v in all",
		*applies, mean(r.applied, *applies), *rollbacks, mean(r.rolled, *rollbacks), *upgrades, time.Since(began).Round(time.Millisecond))

	// An upgrade ends a connection that is busy with its next answer.
	unharmedBut(t, kept(), *upgrades)
	if r := fresh(); r.Answers == 0 || r.Failed > 0 {
		t.Errorf("of %d requests on connections of their own %d failed: %v", r.Requests, r.Failed, r.ErrorCounts)
	} else {
		t.Logf("%d answers on connections of their own", r.Answers)
	}
	sockets.close(t, *upgrades)
	if bad := w.metric(`weir_guard_verdicts_total{verdict="bad"}`); bad != "0" {
		t.Errorf("the guard has undone %s changes:\n%s", bad, w.guardReports())
	}
}

func mean(d time.Duration, n int) time.Duration {
	return (d / time.Duration(max(n, 1))).Round(10 * time.Microsecond)
}

// changes is what is done to one weir, step by step.
type changes struct {
	*weir
	edits   *editor
	version int
	next    int // the process that serves, while the one before it leaves

	applied, rolled time.Duration // by the verdicts, in all
}

// schedule is all steps in a random order. Another kind of change is one more
// list of steps.
func (c *changes) schedule() []func() {
	var steps []func()
	for range *applies {
		steps = append(steps, c.apply)
	}
	for range *rollbacks {
		steps = append(steps, c.rollback)
	}
	for range *upgrades {
		steps = append(steps, c.upgrade)
	}
	r := c.edits.rand
	r.Shuffle(len(steps), func(i, k int) { steps[i], steps[k] = steps[k], steps[i] })
	steps[0] = c.apply // a rollback needs something to go back to
	return append(steps, c.settle)
}

// apply puts another configuration in force.
func (c *changes) apply() {
	c.t.Helper()
	c.applied += c.change("PUT", "/v1/config", c.fill(c.edits.config()))
	want := strconv.Itoa(c.edits.number)
	if got := testkit.Get(c.t, c.listen, "/").Header("X-Edit"); got != want {
		c.t.Fatalf("edit %s is applied, but edit %q answers", want, got)
	}
}

// rollback goes back to a version before; which one, Weir knows.
func (c *changes) rollback() {
	c.t.Helper()
	c.rolled += c.change("POST", "/v1/rollback", "")
}

// upgrade replaces the process. The old one drains while changes go on.
func (c *changes) upgrade() {
	c.t.Helper()
	c.settle()
	code, done := c.weir.upgrade("--probation", "100ms", "--wait")
	if last := done[len(done)-1]; code != 0 || last.Step != "done" {
		c.t.Fatalf("upgrade: exit code %d, %+v", code, done)
	}
	c.next = done[len(done)-1].PID
}

// settle waits until the process that was replaced is gone.
func (c *changes) settle() {
	c.t.Helper()
	if c.next != 0 {
		c.follow(c.next)
		c.next = 0
	}
}

// change makes one and returns how long it took. Every change is exactly one
// version: another one would be the guard's.
func (c *changes) change(method, path, body string) time.Duration {
	c.t.Helper()
	code, answer, err := c.call(method, path, body)
	var v struct {
		Result  string
		Version int
		TookMS  float64 `json:"took_ms"`
	}
	if err != nil || code != 200 || json.Unmarshal(answer, &v) != nil || v.Result != "applied" {
		c.t.Fatalf("%s %s: %d %s, %v\nafter\n%s", method, path, code, answer, err, body)
	}
	if c.version++; v.Version != c.version {
		c.t.Fatalf("version %d runs, want %d:\n%s", v.Version, c.version, c.guardReports())
	}
	return time.Duration(v.TookMS * float64(time.Millisecond))
}

// guardReports is what the guard has said that is not good.
func (w *weir) guardReports() string {
	code, answer, err := w.call("GET", "/v1/versions", "")
	if err != nil || code != 200 {
		return fmt.Sprint(code, err)
	}
	var list struct {
		Versions []struct {
			Number int
			Guard  *struct{ Verdict, Why string }
		}
	}
	_ = json.Unmarshal(answer, &list)
	var b strings.Builder
	for _, v := range list.Versions {
		if v.Guard != nil && v.Guard.Verdict == "bad" {
			fmt.Fprintf(&b, "version %d: %s\n", v.Number, v.Guard.Why)
		}
	}
	return b.String()
}

// metric is the value of a series, empty if there is none.
func (w *weir) metric(series string) string {
	w.t.Helper()
	code, answer, err := w.call("GET", "/metrics", "")
	if err != nil || code != 200 {
		w.t.Fatalf("GET /metrics: %d, %v", code, err)
	}
	for line := range strings.Lines(string(answer)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// editor makes configurations at random under which whoever asks for / gets an
// answer, and whoever has a WebSocket keeps it.
type editor struct {
	rand    *rand.Rand
	number  int
	plain   []string // addresses of backends
	sockets []string // the same, of WebSockets
	spare   string   // address for a second listener
}

func newEditor(t *testing.T, seed uint64) *editor {
	t.Helper()
	e := &editor{rand: rand.New(rand.NewPCG(seed, 0)), spare: freeAddress(t)}
	for i := range 4 {
		e.plain = append(e.plain, startNginx(t, fmt.Sprint("n", i)).address)
	}
	for range 3 {
		e.sockets = append(e.sockets, testkit.NewBackend(t, testkit.WebSocket).Addr())
	}
	return e
}

func (e *editor) one(of ...string) string { return of[e.rand.IntN(len(of))] }
func (e *editor) chance(percent int) bool { return e.rand.IntN(100) < percent }

// config is the next configuration.
func (e *editor) config() string {
	e.number++
	pools := 1 + e.rand.IntN(3)
	var b strings.Builder
	fmt.Fprintf(&b, "# edit %d\nadmin: {address: \"ADMIN\"}\nlog: {level: info, access: false}\nhistory: {keep: %d}\n", e.number, 20+e.rand.IntN(20))
	fmt.Fprintf(&b, "defaults: {timeouts: {response: %ds, client_idle: %ds}}\n", 20+e.rand.IntN(40), 60+e.rand.IntN(60))
	b.WriteString("listeners:\n  - name: web\n    address: LISTEN\n    routes:\n")
	for _, r := range e.routes() {
		b.WriteString("      - " + r + "\n")
	}
	fmt.Fprintf(&b, "      - {name: all, pool: p%d%s}\n", e.rand.IntN(pools), e.extras())
	if e.chance(25) {
		fmt.Fprintf(&b, "  - {name: spare, address: %q, routes: [{name: x, pool: p0}]}\n", e.spare)
	}
	b.WriteString("pools:\n")
	for i := range pools {
		e.pool(&b, fmt.Sprint("p", i), e.plain, "tcp", "http")
	}
	e.pool(&b, "ws", e.sockets, "tcp")
	return b.String()
}

// routes are those before the last one, in a random order: the WebSockets' and
// some that nobody asks for.
func (e *editor) routes() []string {
	out := []string{"{name: sockets, match: {path: /ws}, pool: ws}"}
	for i := range 6 {
		switch e.rand.IntN(4) {
		case 0:
			out = append(out, fmt.Sprintf("{name: r%d, match: {path: /r%d}, respond: {status: 200, body: \"%d\"}}", i, i, e.number))
		case 1:
			out = append(out, fmt.Sprintf("{name: r%d, match: {hosts: [\"h%d.example\"]}, redirect: {to: \"https://example.com{uri}\"}}", i, i))
		}
	}
	e.rand.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out
}

// extras are what else can be said about the route that is asked.
func (e *editor) extras() string {
	out := fmt.Sprintf(", response_headers: {set: {X-Edit: \"%d\"}}", e.number)
	if e.chance(50) {
		out += fmt.Sprintf(", request_headers: {set: {X-Tag: \"%d\"}, remove: [X-Debug]}", e.rand.IntN(9))
	}
	if e.chance(50) {
		out += fmt.Sprintf(", timeouts: {connect: %ds, request: %ds}", 2+e.rand.IntN(5), 20+e.rand.IntN(20))
	}
	if e.chance(30) {
		out += fmt.Sprintf(", retries: {attempts: %d}", e.rand.IntN(3))
	}
	if e.chance(20) {
		out += ", compress: true"
	}
	return out
}

// pool is one of some of the backends, which pass these checks. Those that leave keep the WebSockets that
// they have.
func (e *editor) pool(b *strings.Builder, name string, of []string, checks ...string) {
	fmt.Fprintf(b, "  %s:\n    balance: %s\n    drain: {timeout: 0s}\n    backends:\n", name,
		e.one("weighted_round_robin", "round_robin", "random", "least_requests", "peak_ewma", "consistent_hash"))
	for _, at := range e.rand.Perm(len(of))[:1+e.rand.IntN(len(of))] {
		fmt.Fprintf(b, "      - {address: %q, weight: %d}\n", of[at], 1+e.rand.IntN(9))
	}
	if e.chance(60) {
		fmt.Fprintf(b, "    health: {active: {type: %s, interval: %ds, timeout: 1s}}\n", e.one(checks...), 2+e.rand.IntN(3))
	}
	if e.chance(30) {
		fmt.Fprintf(b, "    queue: {size: %d}\n", 10*e.rand.IntN(10))
	}
	if e.chance(20) {
		b.WriteString("    slow_start: 2s\n")
	}
}

// sockets are WebSockets that say something now and then.
type sockets struct {
	stop    chan struct{}
	wg      sync.WaitGroup
	echoes  atomic.Int64
	lost    atomic.Int64
	moved   atomic.Int64 // times one was sent away, and came back
	address string
	opened  int
	closed  sync.Once
}

func openSockets(t *testing.T, address string, n int) *sockets {
	t.Helper()
	s := &sockets{stop: make(chan struct{}), address: address, opened: n}
	for i := range n {
		c, r, err := s.dial()
		if err != nil {
			t.Fatalf("WebSocket %d: %v", i, err)
		}
		s.wg.Go(func() {
			if err := s.talk(c, r, i); err != nil {
				s.lost.Add(1)
				t.Errorf("WebSocket %d: %v", i, err)
			}
		})
	}
	t.Cleanup(s.end) // before the connections
	return s
}

func (s *sockets) dial() (net.Conn, *bufio.Reader, error) {
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(c)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(r, nil)
	}
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(res.Status)
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, r, nil
}

// talk sends a message and waits for its echo, about three times a second, the
// last time when all is over. One that is sent away with a 1001 comes back, and
// says again what was not echoed.
func (s *sockets) talk(c net.Conn, r *bufio.Reader, i int) error {
	defer func() { c.Close() }()
	for k, last := 0, false; !last; k++ {
		select {
		case <-s.stop:
			last = true
		case <-time.After(300*time.Millisecond + time.Duration(i)*time.Millisecond):
		}
		for again := true; again; {
			var err error
			if again, err = echo(c, r, fmt.Sprintf("message %d of %d;", k, i)); err != nil {
				return err
			}
			if again {
				conn, in, err := s.dial()
				if err != nil {
					return fmt.Errorf("sent away, and then: %w", err)
				}
				c.Close()
				c, r = conn, in
				s.moved.Add(1)
			}
		}
		s.echoes.Add(1)
	}
	return nil
}

// echo sends a frame, whose mask is zero, and waits for it to come back. It
// reports whether there was a farewell instead.
func echo(c net.Conn, r *bufio.Reader, text string) (sentAway bool, err error) {
	const farewell = "\x88\x02\x03\xe9" // a close frame, 1001
	frame := "\x82" + string([]byte{byte(0x80 | len(text)), 0, 0, 0, 0}) + text
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, failed := io.WriteString(c, frame) // it may be late, and the farewell be there
	got := make([]byte, len(frame))
	n, err := io.ReadAtLeast(r, got, len(farewell))
	if string(got[:n]) == farewell {
		return true, nil
	}
	if err == nil {
		_, err = io.ReadFull(r, got[n:])
	}
	if err != nil || string(got) != frame {
		return false, fmt.Errorf("echoes %q, %w, %v; want %q", got, err, failed, frame)
	}
	return false, nil
}

// close ends them and demands that all were open until then, but for one farewell
// each from every process that has left.
func (s *sockets) close(t *testing.T, left int) {
	t.Helper()
	s.end()
	t.Logf("%d WebSockets, %d lost, %d farewells, %d messages", s.opened, s.lost.Load(), s.moved.Load(), s.echoes.Load())
	if most := int64(left * s.opened); s.moved.Load() > most {
		t.Errorf("%d WebSockets were sent away, want %d at most", s.moved.Load(), most)
	}
}

func (s *sockets) end() {
	s.closed.Do(func() {
		close(s.stop)
		s.wg.Wait()
	})
}
