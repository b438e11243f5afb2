package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// setup is a configuration with one listener "web" and one pool "web", made of
// the parts that a test cares about. Each part is YAML.
type setup struct {
	defaults string // under defaults
	listener string // a flow mapping's entries of the listener, such as `trusted_proxies: [127.0.0.1]`
	routes   string // flow sequence entries; empty: everything to the pool
	route    string // more entries of the only route, if routes is empty
	pool     string // entries of the pool, in block style, not indented
	backends []string
	extra    string // top-level text
}

func (s setup) yaml() string {
	routes := s.routes
	if routes == "" {
		routes = "{name: all, pool: web" + comma(s.route) + "}"
	}
	var b strings.Builder
	if s.defaults != "" {
		fmt.Fprintf(&b, "defaults: {%s}\n", s.defaults)
	}
	fmt.Fprintf(&b, "listeners:\n  - {name: web, address: \"127.0.0.1:0\"%s, routes: [%s]}\n", comma(s.listener), routes)
	fmt.Fprintf(&b, "pools:\n  web:\n    backends: [%s]\n", strings.Join(s.backends, ", "))
	for line := range strings.Lines(s.pool) {
		b.WriteString("    " + line)
	}
	return b.String() + "\n" + s.extra
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// at lists backends as the configuration does.
func at(backends ...*testkit.Backend) (list []string) {
	for _, b := range backends {
		list = append(list, fmt.Sprintf("{address: %q}", b.Addr()))
	}
	return list
}

// before is everything to one pool of these backends.
func before(backends ...*testkit.Backend) string { return setup{backends: at(backends...)}.yaml() }

// onBoth runs f on both kinds of event loops. A single loop makes what a test
// says of connections to a backend exact.
func onBoth(t *testing.T, f func(t *testing.T, o loop.Options)) {
	t.Helper()
	t.Run("epoll", func(t *testing.T) { f(t, loop.Options{Loops: 1}) })
	t.Run("portable", func(t *testing.T) { f(t, loop.Options{Loops: 1, Portable: true}) })
}

// single is one loop of the default kind.
var single = loop.Options{Loops: 1}

// record is a line of the access log.
type record struct {
	ID            string  `json:"id"`
	ClientIP      string  `json:"client_ip"`
	Method        string  `json:"method"`
	Host          string  `json:"host"`
	Path          string  `json:"path"`
	Proto         string  `json:"proto"`
	Status        int     `json:"status"`
	BytesIn       int64   `json:"bytes_in"`
	BytesOut      int64   `json:"bytes_out"`
	Duration      float64 `json:"duration"`
	Queue         float64 `json:"t_queue"`
	Connect       float64 `json:"t_connect"`
	TTFB          float64 `json:"t_ttfb"`
	Overhead      float64 `json:"overhead"`
	Backend       string  `json:"backend"`
	Listener      string  `json:"listener"`
	Route         string  `json:"route"`
	Pool          string  `json:"pool"`
	Reason        string  `json:"reason"`
	Detail        string  `json:"detail"`
	ConfigVersion int     `json:"config_version"`
	UserAgent     string  `json:"user_agent"`
	Referer       string  `json:"referer"`
	Attempts      []struct {
		Backend string  `json:"backend"`
		Code    int     `json:"code"`
		Error   string  `json:"error"`
		Dur     float64 `json:"dur"`
	} `json:"attempts"`
}

// records ends w and returns its access log.
func records(t *testing.T, w *testkit.Weir) (all []record) {
	t.Helper()
	w.Close()
	for line := range strings.Lines(w.AccessLog()) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("access log line %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// refused checks an answer that Weir made itself.
func refused(t *testing.T, r *testkit.Reply, status int, reason string) {
	t.Helper()
	if r.Status != status || r.Header("X-Weir-Reason") != reason {
		t.Errorf("%d %q, want %d %q: %v", r.Status, r.Header("X-Weir-Reason"), status, reason, r)
	}
	if strings.Contains(r.Body, "127.0.0.1") || (r.Body != "" || r.Framing != "none") && !strings.Contains(r.Body, reason) {
		t.Errorf("the body is %q", r.Body)
	}
	if waits := r.Header("Retry-After") != ""; waits != (status == 503 || status == 429) {
		t.Errorf("%d with Retry-After: %q", status, r.Header("Retry-After"))
	}
}

// patience bounds what a test waits for; one that hits it fails.
const patience = 10 * time.Second

// await receives from c what should come.
func await[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
	}
	return v
}

// eventually polls for a state that nothing announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// rest reads all there is until the connection ends.
func rest(c *testkit.Client) (string, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.R)
	return string(b), err
}

// parkedAfter is longer than a connection stays on its coroutine when quiet.
const parkedAfter = 1300 * time.Millisecond

func itoa(n int) string { return strconv.Itoa(n) }

// get asks for / on a new connection. The answer may be none.
func get(t *testing.T, w *testkit.Weir) (*testkit.Reply, error) {
	t.Helper()
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	return c.TryRead("GET")
}
