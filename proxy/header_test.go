package proxy_test

import (
	"strings"
	"testing"

	"weir/internal/testkit"
)

// sent is what reached the backend of a request with these header lines.
func sent(t *testing.T, w *testkit.Weir, b *testkit.Backend, lines ...string) []string {
	t.Helper()
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET /p HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
	if r := c.Read("GET"); r.Status != 200 {
		t.Fatal(r)
	}
	head := strings.TrimSuffix(b.Last(), "\r\n\r\n")
	return strings.Split(head, "\r\n")[1:]
}

// without drops the lines of these names.
func without(lines []string, names ...string) (left []string) {
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		keep := true
		for _, n := range names {
			keep = keep && !strings.EqualFold(n, name)
		}
		if keep {
			left = append(left, l)
		}
	}
	return left
}

func values(lines []string, name string) (v []string) {
	for _, l := range lines {
		if n, value, _ := strings.Cut(l, ":"); strings.EqualFold(n, name) {
			v = append(v, strings.TrimSpace(value))
		}
	}
	return v
}

// own are the lines that Weir makes.
var own = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded", "X-Request-Id", "Via"}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// Order, case, repetition and the bytes of the values: as the client sent them.
func TestRequestHeadersArriveAsSent(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, before(b))
	lines := []string{"x-FIRST: 1", "hOST: a", "X-Repeat: b", "Cookie: k=v; l=m", "x-repeat: a", "X-Empty:", "X-Blank:   v \t w  ",
		"X-Latin: caf\xe9", "Cookie: z=1", "X-Colon: a:b::c", "content-type: text/plain", "DATE: now", "Content-length: 0", "X-Repeat: b", "X-None:v", "User-Agent: t/1"}
	same(t, without(sent(t, w, b, lines...), own...), lines...)
}

// So do those of the answer.
func TestAnswerHeadersArriveAsSent(t *testing.T) {
	lines := []string{"Set-Cookie: a=1", "x-LOWER: 1", "set-cookie: b=2; Path=/", "Server: s", "X-Empty:", "Set-Cookie: a=1", "Content-TYPE: x/y",
		"X-Blank:  v ", "date: Mon, 01 Jan 2024 00:00:00 GMT", "Vary: a", "Vary: b", "X-Latin: caf\xe9"}
	b := testkit.NewBackend(t, testkit.Answer(200, "body", lines...))
	w := testkit.Start(t, before(b))
	r := testkit.Get(t, w.Addr("web"), "/")
	same(t, r.Lines, append(lines, "Content-Length: 4", "Via: 1.1 weir")...)
	same(t, r.Values("Set-Cookie"), "a=1", "b=2; Path=/", "a=1")

	// the reason phrase, too; and a Date where there is none
	b.Become(testkit.Raw("HTTP/1.1 299 Very  Special\r\nContent-Length: 0\r\n\r\n", true))
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 299 || r.Reason != "Very  Special" || len(r.Values("Date")) != 1 {
		t.Error(r, r.Reason)
	}
	b.Become(testkit.Raw("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true))
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 200 {
		t.Error(r)
	}
}

// What belongs to one connection ends there.
func TestHopByHopHeaders(t *testing.T) {
	hop := []string{"Connection: keep-alive, X-Mine , x-other,close", "connection: X-Third", "X-Mine: 1", "x-OTHER: 2", "X-Third: 3", "Keep-Alive: timeout=5",
		"Proxy-Connection: keep-alive", "Proxy-Authorization: x", "Proxy-Authenticate: x", "TE: trailers", "Trailer: X-T", "Upgrade: h2c"}
	b := testkit.NewBackend(t, testkit.Answer(200, "", append([]string{"X-Kept: 1"}, hop...)...))
	w := testkit.Start(t, before(b))
	same(t, without(sent(t, w, b, append([]string{"Host: a", "X-Kept: 1"}, hop...)...), own...), "Host: a", "X-Kept: 1")
	r := testkit.Get(t, w.Addr("web"), "/")
	same(t, without(r.Lines, "Date"), "X-Kept: 1", "Content-Length: 0", "Via: 1.1 weir")

	// naming a header in Connection does not take away what others rely on
	kept := []string{"Host: a", "Cookie: c", "Authorization: a", "Content-Length: 0", "X-Request-Id: id"}
	got := sent(t, w, b, append(kept, "Connection: cookie, authorization, host, content-length, x-forwarded-for, x-request-id, via, forwarded")...)
	same(t, without(got, own[:5]...), append(kept, "Via: 1.1 weir")...)
	for _, name := range own {
		if len(values(got, name)) != 1 {
			t.Errorf("%s: %q", name, values(got, name))
		}
	}
}

// An upgrade that is not followed leaves nothing behind.
func TestOnlyRealUpgradesAsk(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, before(b))
	f := func(head string, lines ...string) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(head + "\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
		c.Read("GET")
		got := strings.Split(b.Last(), "\r\n")
		if v := append(values(got, "Upgrade"), values(got, "Connection")...); len(v) > 0 {
			t.Errorf("%s %q: %q went on", head, lines, v)
		}
	}
	f("GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
	if strings.Contains(b.Last(), "HTTP2-Settings") {
		t.Error(b.Last())
	}
	f("GET / HTTP/1.1", "Upgrade: websocket")
	f("GET / HTTP/1.1", "Connection: upgrade")
	f("GET / HTTP/1.0", "Connection: upgrade", "Upgrade: websocket")
	f("POST / HTTP/1.1", "Connection: upgrade", "Upgrade: websocket", "Content-Length: 1\r\n\r\nx")
}

func TestHeaderRules(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "body", "Server: backend", "X-Powered-By: php", "X-Set: theirs", "x-set: theirs too", "X-Add: theirs"))
	w := testkit.Start(t, setup{backends: at(b), route: `
    rewrite: {host: other.example}, request_headers: {set: {X-Set: mine}, add: {X-Add: "1", X-Via: v}, remove: [X-Gone, Via, X-Forwarded-Port, User-Agent]},
    response_headers: {set: {X-Set: mine, Server: weir}, add: {X-Add: more}, remove: [X-POWERED-by]}`}.yaml())
	got := sent(t, w, b, "Host: a", "X-Gone: 1", "x-set: old", "X-Add: 0", "x-gone: 2", "X-SET: old", "User-Agent: u")
	same(t, without(got, own...), "Host: other.example", "X-Add: 0", "X-Set: mine", "X-Add: 1", "X-Via: v")
	same(t, append(values(got, "Via"), values(got, "X-Forwarded-Port")...))
	same(t, values(got, "X-Forwarded-For"), "127.0.0.1")
	same(t, values(got, "X-Forwarded-Host"), "a")
	r := testkit.Get(t, w.Addr("web"), "/")
	same(t, without(r.Lines, "Date"), "X-Add: theirs", "Content-Length: 4", "Via: 1.1 weir", "X-Set: mine", "Server: weir", "X-Add: more")
}

// The operator's rules have the last word on what Weir says itself, too.
func TestHeaderRulesOfOwnAnswers(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.Start(t, setup{backends: at(b), routes: `
    {name: r, match: {path: /respond}, respond: {body: hi}, response_headers: {set: {Content-Type: text/css, Date: never}, add: {X-A: "1"}}},
    {name: l, match: {path: /redirect}, redirect: {to: /there}, response_headers: {set: {Location: /elsewhere}, remove: [Content-Type]}},
    {name: h, match: {path: /hidden}, pool: web, response_headers: {remove: [Via, Date]}}`}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	same(t, c.Get("/respond").Lines, "Content-Length: 2", "Content-Type: text/css", "Date: never", "X-A: 1")
	same(t, without(c.Get("/redirect").Lines, "Date"), "Content-Length: 0", "Location: /elsewhere")
	same(t, c.Get("/hidden").Lines, "Content-Length: 0")
}

func TestRequestID(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, ""))
	w := testkit.StartOn(t, before(b), single)
	f := func(id, want string) {
		t.Helper()
		got := values(sent(t, w, b, "Host: a", "X-Request-Id: "+id), "X-Request-Id")
		switch {
		case len(got) != 1:
			t.Errorf("%.30q became %q", id, got)
		case want == "made" && (len(got[0]) != 32 || got[0] == id):
			t.Errorf("%.30q became %q, want one of Weir's", id, got[0])
		case want == "kept" && got[0] != id:
			t.Errorf("%.30q became %q, want it kept", id, got[0])
		}
	}
	f("abc-123_XYZ.4", "kept")
	f("urn:a/b=c", "kept")
	f(strings.Repeat("a", 128), "kept")
	f(strings.Repeat("a", 129), "made")
	f("", "made")
	f("has blanks", "made")
	f("has\"quotes", "made")

	one, two := values(sent(t, w, b, "Host: a"), "X-Request-Id"), values(sent(t, w, b, "Host: a"), "X-Request-Id")
	if len(one) != 1 || len(two) != 1 || one[0] == two[0] {
		t.Errorf("made %q and %q", one, two)
	}
	all := records(t, w)
	if n := len(all); all[0].ID != "abc-123_XYZ.4" || all[n-1].ID != two[0] {
		t.Errorf("the access log has %q and %q", all[0].ID, all[n-1].ID)
	}
}

func TestVia(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "", "Via: 1.1 inner"))
	w := testkit.Start(t, before(b))
	same(t, values(sent(t, w, b, "Host: a", "Via: 1.1 outer"), "Via"), "1.1 outer", "1.1 weir")
	c := testkit.Dial(t, w.Addr("web"))
	c.Send("GET / HTTP/1.0\r\n\r\n")
	same(t, c.Read("GET").Values("Via"), "1.1 inner", "1.1 weir")
	same(t, values(strings.Split(b.Last(), "\r\n"), "Via"), "1.0 weir")
}
