//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// abuseConfig has short timeouts, so that what must end by them ends in a test.
// min_rate is looked at after 10 s of waiting for a client, which is not an option.
const abuseConfig = `
admin: {address: "ADMIN"}
log: {level: error, access: false}
defaults:
  timeouts: {client_header: 2s, client_body_idle: 5s, client_idle: 3s}
listeners:
  - name: web
    address: LISTEN
    protocol: http
    routes:
      - {name: own, match: {path: /own}, respond: {status: 200, body: "ok"}}
      - {name: all, pool: web}
pools:
  web:
    backends: [{address: "%s"}]
    health: {passive: {consecutive_errors: 0}}
`

// spare is what a Weir may take on top of what its connections may.
const mib, spare = 1 << 20, 64 << 20

// attack is what many connections do at the same time.
type attack struct {
	name    string
	conns   int
	opening string        // what each sends at once
	piece   string        // and then, again and again; empty: nothing
	every   time.Duration // with this much time between; 0: as fast as it goes
	deaf    bool          // answers are not read
	ends    time.Duration // when Weir must have ended all of them, after the first octet
	stays   bool          // they need not have been ended by then
	each    int64         // memory that one may cost
	status  []int         // what each must be told; none: it does not matter
}

const (
	chunkedPost = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
	longPost    = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n"
	openHead    = "GET / HTTP/1.1\r\nHost: test\r\n"
	plainGet    = openHead + "\r\n"
	bigGet      = "GET /big HTTP/1.1\r\nHost: test\r\n\r\n" // 64 MiB
)

// Clients that send nothing, or too little to get anywhere, are sent away by
// the timeouts of the header and of idle connections.
func TestAbuseByWaiting(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max < uint64(few(10_000)) {
		t.Skipf("the attackers need more open files than the limit of %d", limit.Max)
	}
	withstand(t,
		attack{name: "h1-idle", conns: few(4000), ends: 8 * time.Second, each: 1 << 10},
		attack{name: "h1-slow-head", conns: few(5000), opening: openHead, piece: "X-A: b\r\n", every: 500 * time.Millisecond, ends: 8 * time.Second, each: 16 << 10},
	)
	withstand(t,
		attack{name: "h1-slow-line", conns: few(4000), opening: "GET /", piece: "a", every: 500 * time.Millisecond, ends: 8 * time.Second, each: 16 << 10},
		attack{name: "h1-keepalive-idle", conns: few(4000), opening: "GET /own HTTP/1.1\r\nHost: test\r\n\r\n", ends: 8 * time.Second, each: 16 << 10,
			status: []int{200}},
	)
}

// Clients that send a body or take an answer more slowly than min_rate are sent
// away by it. There are fewer of them than a backend takes requests at a time: more
// would leave none for others. Those that ask and do not listen have earned a
// minute of pause by what the kernel took for them; of these only what they hold
// is looked at. And there are few of them, for the kernel's buffers between Weir
// and the backend are the machine's, not theirs.
func TestAbuseBySlowness(t *testing.T) {
	limit := 20 * time.Second // 10 s, and what it takes to notice on a busy machine
	withstand(t,
		attack{name: "h1-slow-body", conns: few(1000), opening: longPost, piece: "a", every: time.Second, ends: limit, each: 64 << 10},
		attack{name: "h1-slow-chunk", conns: few(1000), opening: chunkedPost, piece: "1\r\na\r\n", every: time.Second, ends: limit, each: 64 << 10},
		attack{name: "h1-slow-read", conns: few(100), opening: bigGet, deaf: true, ends: 8 * time.Second, stays: true, each: 256 << 10},
		attack{name: "h1-pipeline", conns: few(100), opening: bigGet, piece: strings.Repeat(bigGet, 100), deaf: true, ends: 8 * time.Second, stays: true, each: 256 << 10},
	)
}

// What never ends is refused at a limit.
func TestAbuseWithoutEnd(t *testing.T) {
	attacks := []attack{
		{name: "h1-endless-line", opening: "GET /", piece: strings.Repeat("a", 8192)},
		{name: "h1-endless-head", opening: openHead + "X-A: ", piece: strings.Repeat("a", 8192)},
		{name: "h1-endless-fields", opening: openHead, piece: strings.Repeat("X-A: b\r\n", 1024)},
		{name: "h1-endless-trailer", opening: chunkedPost + "0\r\n", piece: strings.Repeat("X-A: b\r\n", 1024)},
		{name: "h1-endless-ext", opening: chunkedPost + "5;", piece: strings.Repeat("a", 8192)},
		{name: "h1-endless-crlf", piece: strings.Repeat("\r\n", 4096)},
	}
	for i := range attacks {
		a := &attacks[i]
		a.conns, a.ends, a.each = few(200), 6*time.Second, 128<<10
		a.status = []int{400, 408, 413, 414, 431} // 408: on a busy machine the header's time may come first
	}
	withstand(t, attacks[:3]...)
	withstand(t, attacks[3:]...)
}

// A hundred thousand requests on one connection leave nothing behind.
func TestManyRequestsOnOneConnection(t *testing.T) {
	w := start(t, fmt.Sprintf(abuseConfig, abused(t)))
	conn := w.dial(1)[0]
	r, deep := bufio.NewReader(conn), 100
	ask := func(times int) {
		for range times / deep {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(conn, strings.Repeat(plainGet, deep)); err != nil {
				t.Fatal(err)
			}
			for range deep {
				if status, err := answer(r); status != 200 {
					t.Fatalf("status %d, %v", status, err)
				}
			}
		}
	}
	ask(few(10_000))
	before := w.rss()
	began := time.Now()
	ask(few(100_000))
	after := w.collected(before + 8*mib)
	t.Logf("%d requests in %v; resident %d KiB before, %d KiB after", few(100_000), time.Since(began).Round(time.Millisecond), before>>10, after>>10)
	if after > before+8*mib {
		t.Errorf("memory grows from %d to %d KiB", before>>10, after>>10)
	}
}

// abused is a backend that takes all bodies and has a long answer.
func abused(t *testing.T) (address string) {
	t.Helper()
	page := make([]byte, mib)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/big" {
			_, _ = io.WriteString(rw, "ok")
			return
		}
		for range 64 {
			if _, err := rw.Write(page); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// answer reads one answer and its body.
func answer(r *bufio.Reader) (status int, err error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// siege is an attack on a Weir of its own.
type siege struct {
	attack
	w     *weir
	quiet time.Duration // p99 of the well-behaved client before
	calm  int64         // resident memory before

	peak     int64        // resident memory, at most
	most     int          // connections, at most
	over     atomic.Bool  // Weir has ended all connections
	mu       sync.Mutex   // guards statuses
	statuses map[int]int  // what the attackers were told
	sent     atomic.Int64 // octets that Weir's side has taken
}

// withstand runs attacks at the same time, each on its own Weir.
func withstand(t *testing.T, attacks ...attack) {
	t.Helper()
	var sieges []*siege
	for _, a := range attacks {
		s := &siege{attack: a, w: start(t, fmt.Sprintf(abuseConfig, abused(t))), statuses: make(map[int]int)}
		stop := s.w.visit()
		time.Sleep(300 * time.Millisecond)
		s.quiet, _ = stop(t, a.name+", before")
		s.calm = s.w.rss()
		sieges = append(sieges, s)
	}
	var running sync.WaitGroup
	for i, s := range sieges {
		running.Go(func() { s.run(t, i) })
	}
	running.Wait()
}

// run attacks, watches and checks.
func (s *siege) run(t *testing.T, number int) {
	stop := s.w.visit()
	attackers := s.dial(t, number)
	var attacking sync.WaitGroup
	began := time.Now()
	for _, c := range attackers {
		attacking.Go(func() { s.conduct(c) })
	}
	took := s.watch(t, began)
	p99, worst := stop(t, s.name)
	for _, c := range attackers {
		_ = c.Close()
	}
	attacking.Wait()
	after := s.w.collected(s.calm + spare/2)
	t.Logf("%-18s %4d connections, all ended after %4.1f s; p99 %v (x %.1f), worst %v; resident %d, at most %d (%d a connection), then %d KiB; told %v; %d KiB sent",
		s.name, s.most, took.Seconds(), p99, float64(p99)/float64(s.quiet), worst, s.calm>>10, s.peak>>10,
		(s.peak-s.calm)/int64(s.conns), after>>10, s.statuses, s.sent.Load()>>10)
	if bound := s.calm + int64(s.conns)*s.each + spare; s.peak > bound {
		t.Errorf("%s: %d KiB of memory, want at most %d", s.name, s.peak>>10, bound>>10)
	}
	if after > s.calm+spare/2 {
		t.Errorf("%s: memory stays at %d KiB, it was %d before", s.name, after>>10, s.calm>>10)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for status, n := range s.statuses {
		if len(s.status) > 0 && !slices.Contains(s.status, status) {
			t.Errorf("%s: %d of %d connections were told %d, want one of %v", s.name, n, s.conns, status, s.status)
		}
	}
}

// watch waits until all attackers have been sent away, and says when.
func (s *siege) watch(t *testing.T, began time.Time) time.Duration {
	defer s.over.Store(true)
	for seen := false; ; time.Sleep(50 * time.Millisecond) {
		s.peak = max(s.peak, s.w.rss())
		n := s.w.counted()
		s.most = max(s.most, n)
		seen = seen || n > few(50) || time.Since(began) > time.Second // the endless ones may be gone by now
		switch took := time.Since(began); {
		case seen && n <= 4: // the well-behaved client and its like
			return took
		case took > s.ends && s.stays:
			return took
		case took > s.ends:
			t.Errorf("%s: after %v %d connections are open", s.name, took, n)
			return took
		}
	}
}

// dial opens the attackers' connections. Each attack comes from an address of
// its own, so that there are ports enough.
func (s *siege) dial(t *testing.T, number int) []net.Conn {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(10+number))}, Timeout: 10 * time.Second}
	conns := make([]net.Conn, 0, s.conns)
	for range s.conns {
		c, err := from.Dial("tcp", s.w.listen)
		if err != nil {
			t.Errorf("%s: connection %d: %v", s.name, len(conns), err)
			break
		}
		if s.deaf {
			_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		n, _ := io.WriteString(c, s.opening) // now: Weir does not wait for it for long
		s.sent.Add(int64(n))
		conns = append(conns, c)
	}
	return conns
}

// conduct is what one attacker does until its connection ends.
func (s *siege) conduct(c net.Conn) {
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		s.listen(c)
	}()
	defer func() { <-heard }()
	for s.piece != "" && !s.over.Load() {
		select {
		case <-heard:
			return
		case <-time.After(s.every):
		}
		n, err := io.WriteString(c, s.piece)
		s.sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// listen notes the last answer's status; 0 is an end without an answer. The deaf
// take a few octets now and then.
func (s *siege) listen(c net.Conn) {
	if s.deaf {
		for b := make([]byte, 16); !s.over.Load(); time.Sleep(time.Second) {
			if _, err := c.Read(b); err != nil {
				break
			}
		}
		return
	}
	last, r := 0, bufio.NewReaderSize(c, 512)
	for {
		status, err := answer(r)
		if err != nil {
			break
		}
		last = status
	}
	s.mu.Lock()
	s.statuses[last]++
	s.mu.Unlock()
}

// visit is a well-behaved client that asks every few milliseconds until it is
// stopped, now and then on a new connection.
func (w *weir) visit() (stop func(t *testing.T, when string) (p99, worst time.Duration)) {
	var took []time.Duration
	var failed []error
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
		for n := 1; ; n++ {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if n%20 == 0 {
				transport.CloseIdleConnections()
			}
			began := time.Now()
			resp, err := client.Get("http://" + w.listen + "/")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
			took = append(took, time.Since(began))
			if err != nil {
				failed = append(failed, err)
			}
		}
	}()
	return func(t *testing.T, when string) (p99, worst time.Duration) {
		close(end)
		<-ended
		slices.Sort(took)
		worst = took[len(took)-1]
		if len(failed) > 0 || worst > 5*time.Second {
			t.Errorf("%s: of %d requests of a well-behaved client %d failed (%v), the slowest took %v", when, len(took), len(failed), failed[:min(1, len(failed))], worst)
		}
		return took[len(took)*99/100].Round(time.Microsecond), worst.Round(time.Microsecond)
	}
}

// counted is connections for goroutines, which must not end the test.
func (w *weir) counted() int {
	_, answer, err := w.call("GET", "/v1/status", "")
	var s struct {
		Traffic struct{ Listeners []struct{ Connections int } }
	}
	if err != nil || json.Unmarshal(answer, &s) != nil || len(s.Traffic.Listeners) == 0 {
		return 0
	}
	return s.Traffic.Listeners[0].Connections
}

// collected is the resident memory after the collector has run: at most enough,
// or what the kernel has been given back after a while.
func (w *weir) collected(enough int64) (now int64) {
	for range 20 {
		_, _, _ = w.call("GET", "/debug/pprof/heap?gc=1", "")
		if now = w.rss(); now <= enough {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	return now
}
