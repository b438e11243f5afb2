package control_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"weir/internal/control"
	"weir/internal/testkit"
)

func (r *rig) preview(source string) control.Preview {
	r.t.Helper()
	p, err := r.ctl.Preview(r.t.Context(), "next.yaml", []byte(source))
	if err != nil {
		r.t.Fatalf("Preview: %v", err)
	}
	return p
}

// changes are the lines of a preview with whom each change touches.
func changes(p control.Preview) []string {
	var out []string
	for _, c := range p.Changes {
		line := c.Line
		if c.Impact != nil {
			line += "; " + c.Impact.String()
		}
		out = append(out, line)
	}
	return out
}

// found are the codes and paths of a preview's warnings, with what is new or
// keeps it from being applied marked.
func found(p control.Preview) []string {
	var out []string
	for _, w := range p.Warnings {
		mark := map[bool]string{true: " running"}[w.Running]
		if w.Severity == "error" {
			mark = " error"
		}
		out = append(out, w.Code+" "+w.Path+mark)
	}
	return out
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// until waits for what must happen.
func (r *rig) until(what string, happens func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !happens(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// upgrade agrees to a WebSocket and says nothing more; others get no answer until
// the connection ends.
func upgrade(x *testkit.Exchange) bool {
	if x.Header("Upgrade") != "" {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}
	return testkit.NeverAnswer(x)
}

// A preview names whom a change would touch, and touches nobody.
func TestPreviewImpact(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := testkit.NewBackend(t, upgrade), testkit.NewBackend(t, upgrade)
	text := func(second, backends string) string {
		return fmt.Sprintf(`
listeners:
  - {name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}
%s
pools:
  api: {backends: [%s], drain: {timeout: 1m30s}}
  own: {backends: [{address: %q}]}
`, second, backends, b.Addr())
	}
	const own = `  - {name: own, address: "127.0.0.1:0", routes: [{name: all, pool: own}]}`
	one := fmt.Sprintf("{address: %q}", a.Addr())
	r := newRig(t, text(own, one)).start()

	// two requests and a WebSocket at one, a WebSocket and nothing at the other
	var clients []*testkit.Client
	ask := func(listener, lines string) {
		c := testkit.Dial(t, r.proxy.ListenerAddr(listener).String())
		c.Send("GET / HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n")
		if lines != "" {
			if reply := c.Read("GET"); reply.Status != 101 {
				t.Fatalf("no upgrade: %v", reply)
			}
		}
		clients = append(clients, c)
	}
	const socket = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	ask("web", "")
	ask("web", "")
	ask("web", socket)
	ask("own", socket)
	r.until("all are served and counted", func() bool {
		streams, inFlight := 0, 0
		for _, p := range r.ctl.Pools() {
			streams += p.Backends[0].Streams
			inFlight += p.Backends[0].InFlight
		}
		for _, l := range r.proxy.Status().Listeners {
			streams += l.Tunnels
		}
		return streams == 4 && inFlight == 4
	})

	before := r.ctl.Status().Traffic
	p := r.preview(text("", fmt.Sprintf("{address: %q}", b.Addr())))
	wantLines(t, "changes", changes(p),
		"listener own removed: 127.0.0.1:0; 1 connection (1 stream): idle ones are closed, requests are answered first, streams go on until they end",
		"pool api: backend "+b.Addr()+" added: weight 1",
		"pool api: backend "+a.Addr()+" removed; 3 requests in flight (1 stream): they have 1m30s to end (drain.timeout)")

	// a pool that goes: all of it, by its own drain.timeout
	p = r.preview(strings.Replace(saying("x"), "  - name: web", own[:len(own)-len("pool: own}]}")]+"respond: {status: 200}}]}\n  - name: web", 1))
	wantLines(t, "of pools", changes(p)[len(p.Changes)-2:],
		"pool api removed; 3 requests in flight (1 stream): they have 1m30s to end (drain.timeout)",
		"pool own removed; 1 request in flight (1 stream): they have 5m to end (drain.timeout)")

	// a route that goes lets its requests end
	p = r.preview(strings.Replace(text(own, one), "{name: all, pool: api}", "{name: every, pool: api}", 1))
	wantLines(t, "of routes", changes(p), "listener web: route every added: to pool api",
		"listener web: route all removed; 2 requests in flight: they are answered as they began")

	// weights touch nobody
	p = r.preview(text(own, fmt.Sprintf("{address: %q, weight: 7}", a.Addr())))
	wantLines(t, "of a weight", changes(p), "pool api: backend "+a.Addr()+" weight 1 -> 7")
	p = r.preview(text(own, one))
	if wantLines(t, "of nothing", changes(p)); !p.Same || p.Version != 1 || p.Blocked() {
		t.Errorf("the same: %+v", p)
	}

	after := r.ctl.Status().Traffic
	if fmt.Sprint(before) != fmt.Sprint(after) || len(r.ctl.Versions()) != 1 {
		t.Errorf("something has changed: %+v, %+v", before, after)
	}
	for _, c := range clients {
		c.Conn.Close()
	}
	a.Close() // ends what was never answered
	b.Close()
}

// A listener that gets another name keeps its socket, and one that gets another
// address does not.
func TestPreviewOfSockets(t *testing.T) {
	free := freeAddress(t)
	at := func(name, address string) string {
		return strings.NewReplacer("name: web", "name: "+name, "127.0.0.1:0", address).Replace(saying("x"))
	}
	r := newRig(t, at("web", free)).start()
	p := r.preview(at("www", free))
	wantLines(t, "renamed", changes(p), "listener www added: "+free+", 1 route", "listener web removed: "+free)
	if len(found(p)) > 0 {
		t.Errorf("warnings %v: the address is Weir's own", found(p))
	}
	p = r.preview(at("web", "127.0.0.1:0"))
	wantLines(t, "moved", changes(p), "listener web: address "+free+" -> 127.0.0.1:0; nobody uses it now")

	// Weir itself is in the way
	_, port, _ := net.SplitHostPort(free)
	p = r.preview(at("web", ":"+port))
	wantLines(t, "wider", found(p), "address-unavailable listeners[0].address error")
	if !p.Blocked() || !strings.Contains(p.Warnings[0].Fix, "this Weir's listener web has it as "+free) {
		t.Errorf("%+v", p.Warnings)
	}
	if v := r.apply(at("web", ":"+port)); v.Result != control.Failed {
		t.Errorf("and it can be applied: %+v", v)
	}
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// What stands in the way is found as Apply would find it, and all of it.
func TestPreviewLooksAround(t *testing.T) {
	r := newRig(t, saying("x"))
	dir := filepath.Dir(r.path)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	socket, err := net.Listen("unix", filepath.Join(dir, "taken.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var asked sync.Map
	r.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		asked.Store(host, true)
		if host == "db.test" {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host}
	}
	r.start()
	if err := os.WriteFile(filepath.Join(dir, "empty"), []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := fmt.Sprintf(`
admin: {address: 127.0.0.1:9900, token_file: empty}
guard: {notify: {exec: [/no/such/program]}}
listeners:
  - {name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api, basic_auth: {users_file: none}}, {name: too, match: {path: /x}, pool: api, basic_auth: {users_file: none}}]}
  - {name: two, address: %q, routes: [{name: all, pool: api}]}
  - {name: three, address: "unix:%s", routes: [{name: all, pool: api}]}
  - {name: four, address: "unix:%s/free.sock", routes: [{name: all, pool: api}]}
pools:
  api:
    backends: [{address: "db.test:1"}, {address: "nowhere.test:1"}, {address: "nowhere.test:2"}, {address: "127.0.0.1:1"}]
    sticky: {cookie: weir, secret_file: empty}
    health: {active: {type: exec, argv: [no-such-check]}}
`, taken.Addr(), socket.Addr(), dir)
	p := r.preview(next)
	wantLines(t, "warnings", found(p),
		"file-unreadable listeners[0].routes[0].basic_auth.users_file error", // one file, one warning
		"address-unavailable listeners[1].address error",
		"address-unavailable listeners[2].address error",
		"file-unreadable pools.api.sticky.secret_file error",
		"file-unreadable admin.token_file",
		"program-missing guard.notify.exec",
		"name-unresolved pools.api.backends[1].address",
		"program-missing pools.api.health.active.argv")
	for _, w := range p.Warnings {
		if w.File != "next.yaml" || w.Line < 2 || w.Column < 1 || w.Message == "" {
			t.Errorf("%+v", w)
		}
	}
	if !p.Blocked() {
		t.Error("it can be applied")
	}
	if _, ok := asked.Load("127.0.0.1"); ok {
		t.Error("an address was looked up")
	}
	if _, err := os.Stat(filepath.Join(dir, "free.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a socket is left: %v", err)
	}
	if v := r.apply(next); v.Result != control.Failed {
		t.Errorf("and it can be applied: %+v", v)
	}

	// what is wrong with the text is all that is known of it
	p = r.preview("listeners: []\npols: {}\n")
	if len(p.Problems) != 2 || p.Problems[0].File != "next.yaml" || len(p.Changes) != 0 || !p.Blocked() {
		t.Errorf("%+v", p)
	}
}

// What runs already cannot fail to be applied; that it would not start again is
// worth a warning.
func TestPreviewOfWhatRuns(t *testing.T) {
	text := strings.Replace(saying("x"), `respond: {body: "x"}`, "pool: api", 1) +
		"pools: {api: {backends: [{address: '127.0.0.1:1'}], sticky: {cookie: weir, secret_file: secret}}}\n"
	r := newRig(t, text)
	secret := filepath.Join(filepath.Dir(r.path), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	if p := r.preview(text); len(p.Warnings) > 0 {
		t.Errorf("%v", found(p))
	}
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	p := r.preview(text)
	wantLines(t, "without its secret", found(p), "file-unreadable pools.api.sticky.secret_file")
	if p.Blocked() {
		t.Error("what runs cannot be applied")
	}
	wantLines(t, "with another change", found(r.preview(text+"log: {level: debug}\n")), "file-unreadable pools.api.sticky.secret_file error")
}

// A socket file that nobody listens on is no obstacle, and a trial leaves it.
func TestPreviewLeavesStaleSockets(t *testing.T) {
	r := newRig(t, saying("x")).start()
	stale := filepath.Join(filepath.Dir(r.path), "stale.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	next := strings.Replace(saying("x"), "127.0.0.1:0", "unix:"+stale, 1)
	if p := r.preview(next); p.Blocked() {
		t.Errorf("%v", found(p))
	}
	if _, err := os.Lstat(stale); err != nil {
		t.Error(err)
	}
	r.mustApply(next)
}

// What is new is told in full, what ran before is marked, and what the plan calls
// shadowed is told once.
func TestPreviewLint(t *testing.T) {
	const old = `
listeners:
  - name: web
    address: 127.0.0.1:0
    routes:
      - {name: one, match: {path_regex: /one}, respond: {status: 200}}
      - {name: rest, respond: {status: 200}}
`
	next := strings.Replace(old, "      - {name: rest", "      - {name: two, match: {path_regex: /two}, respond: {status: 200}}\n      - {name: all, respond: {status: 201}}\n      - {name: rest", 1)
	r := newRig(t, old).start()
	p := r.preview(next)
	wantLines(t, "changes", changes(p),
		"listener web: route two added: respond 200",
		"listener web: route all added: respond 201",
		"listener web: route rest shadowed: it gets no requests, route all comes first and matches all of them")
	wantLines(t, "warnings", found(p),
		"regex-unanchored listeners[0].routes[1].match.path_regex",
		"regex-unanchored listeners[0].routes[0].match.path_regex running")

	// applied, it is logged once, and told in the verdict
	v := r.mustApply(next)
	if len(v.Warnings) != 1 || v.Warnings[0].Code != "regex-unanchored" || v.Warnings[0].Line != 7 {
		t.Errorf("verdict %+v", v.Warnings)
	}
	r.wantSaid(zapcore.InfoLevel, "configuration warning", "regex-unanchored", `"/two" is not anchored`)
	if r.said(zapcore.InfoLevel, "configuration warning", "/one") {
		t.Error("what was there before is told again")
	}
	wantLines(t, "once it runs", found(r.preview(next)),
		"regex-unanchored listeners[0].routes[0].match.path_regex running",
		"regex-unanchored listeners[0].routes[1].match.path_regex running",
		"unreachable-route listeners[0].routes[3] running")
}

// Names are looked up side by side, and only so many at once.
func TestPreviewLooksNamesUpTogether(t *testing.T) {
	const names = 100
	var backends strings.Builder
	for i := range names {
		fmt.Fprintf(&backends, "{address: 'n%d.test:1'}, ", i)
	}
	r := newRig(t, saying("x"))
	var mu sync.Mutex
	var now, most int
	full := make(chan struct{})
	r.resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
		mu.Lock()
		if now++; now == 32 && most < 32 {
			close(full)
		}
		most = max(most, now)
		mu.Unlock()
		select {
		case <-full: // as many as may be are asking
		case <-ctx.Done():
		}
		mu.Lock()
		now--
		mu.Unlock()
		return nil, errors.New("nobody knows")
	}
	r.start()
	p := r.preview(strings.Replace(saying("x"), "respond: {body: \"x\"}", "pool: p", 1) + "pools: {p: {backends: [" + backends.String() + "]}}\n")
	if len(p.Warnings) != names || p.Blocked() {
		t.Errorf("%d warnings, want %d", len(p.Warnings), names)
	}
	if most != 32 {
		t.Errorf("%d at once, want 32", most)
	}
}

// docs/lint.md has every code that a preview can find.
func TestPreviewCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## What weir plan finds")
	codes := map[string]bool{}
	for _, file := range []string{"preview.go", "lookaround.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`fs\.add\("([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
			codes[m[1]] = true
		}
	}
	if len(codes) < 6 {
		t.Errorf("only %v", codes)
	}
	for code := range codes {
		if !strings.Contains(table, "| `"+code+"` |") {
			t.Errorf("%s is not in docs/lint.md", code)
		}
	}
}
