package proxy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/testkit"
	"weir/pool"
)

// stuck is a configuration whose clients keep their backend by the cookie w.
func stuck(s setup) string {
	s.pool += "sticky: {cookie: w}\n"
	return s.yaml()
}

// three are backends that answer with their names.
func three(t *testing.T) []*testkit.Backend {
	t.Helper()
	var all []*testkit.Backend
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, testkit.NewBackend(t, testkit.Named(name)))
	}
	return all
}

var stickyLine = regexp.MustCompile(`^w=([\w-]{22}); Path=/; HttpOnly; SameSite=Lax$`)

// given is the value of the cookie that came with an answer, which must be all
// that is set; "" if there is none.
func given(t *testing.T, r *testkit.Reply) string {
	t.Helper()
	all := r.Values("Set-Cookie")
	if len(all) == 0 {
		return ""
	}
	m := stickyLine.FindStringSubmatch(all[0])
	if m == nil || len(all) > 1 || r.Header("Cache-Control") != "private" {
		t.Fatalf("Set-Cookie: %q, Cache-Control: %q", all, r.Values("Cache-Control"))
	}
	return m[1]
}

// bound gets a cookie, and the name of the backend that it is for.
func bound(t *testing.T, w *testkit.Weir) (cookie, name string) {
	t.Helper()
	r := testkit.Get(t, w.Addr("web"), "/")
	id := given(t, r)
	if id == "" {
		t.Fatalf("no cookie: %v", r)
	}
	return "Cookie: w=" + id, r.Body
}

// boundTo gets the cookie of one backend.
func boundTo(t *testing.T, w *testkit.Weir, name string) string {
	t.Helper()
	for range 100 {
		if cookie, got := bound(t, w); got == name {
			return cookie
		}
	}
	t.Fatalf("nobody is sent to %s", name)
	return ""
}

// keeps checks that a client is served by a backend, and gets no other cookie.
func keeps(t *testing.T, w *testkit.Weir, cookie, name string) {
	t.Helper()
	c := testkit.Dial(t, w.Addr("web"))
	for range 5 {
		r := c.Get("/", cookie)
		if id := given(t, r); r.Body != name || id != "" {
			t.Fatalf("%s %q, want %s and no cookie", r.Body, id, name)
		}
	}
}

// moves checks that a client is served by another backend than before, and keeps
// that one from now on.
func moves(t *testing.T, w *testkit.Weir, cookie, from string) (next, name string) {
	t.Helper()
	r := testkit.Get(t, w.Addr("web"), "/", cookie)
	id := given(t, r)
	if r.Status != 200 || r.Body == from || id == "" {
		t.Fatalf("%v, want another one than %s and a cookie", r, from)
	}
	next = "Cookie: w=" + id
	keeps(t, w, next, r.Body)
	return next, r.Body
}

func mark(t *testing.T, w *testkit.Weir, b *testkit.Backend, as pool.Admin) {
	t.Helper()
	if err := w.Control.Mark("web", b.Addr(), as, control.Origin{}); err != nil {
		t.Fatal(err)
	}
}

// Clients are spread by the policy, and then stay.
func TestSticky(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		for _, balance := range []string{"weighted_round_robin", "round_robin", "random", "least_requests", "peak_ewma", "consistent_hash", "first"} {
			w := testkit.StartOn(t, stuck(setup{backends: at(three(t)...), pool: "balance: " + balance + "\n"}), o)
			clients, by := map[string]string{}, map[string]int{}
			for range 30 {
				cookie, name := bound(t, w)
				if at, ok := clients[cookie]; ok && at != name {
					t.Errorf("%s: the same cookie for %s and %s", balance, at, name)
				}
				clients[cookie] = name
				by[name]++
			}
			if strings.HasSuffix(balance, "round_robin") && (by["a"] != 10 || by["b"] != 10 || by["c"] != 10) {
				t.Errorf("%s: new clients are spread %v", balance, by)
			}
			if len(clients) != len(by) || len(by) < 2 && balance != "first" && balance != "consistent_hash" {
				t.Errorf("%s: %d cookies for %v", balance, len(clients), by)
			}
			for cookie, name := range clients {
				keeps(t, w, cookie, name)
				if strings.Contains(cookie, "127") {
					t.Errorf("the cookie is %q", cookie)
				}
			}
			w.Close()
		}
	})
}

// What Weir has not given is as good as nothing, and is replaced.
func TestStickyForged(t *testing.T) {
	backends := three(t)
	both := stuck(setup{backends: at(backends...)}) + "  web2: {backends: [" + strings.Join(at(backends...), ", ") + "], sticky: {cookie: w}}\n"
	other := testkit.StartOn(t, both, single)
	foreign, _ := bound(t, other) // made with another key
	other.Close()
	w := testkit.StartOn(t, both, single)
	mine, name := bound(t, w)
	value := strings.TrimPrefix(mine, "Cookie: w=")
	for _, cookie := range []string{
		foreign, mine + "A", mine[:len(mine)-1], mine[:len(mine)-2] + "__", "Cookie: w=" + strings.ToLower(value),
		"Cookie: w=", "Cookie: w", "Cookie: W=" + value, "Cookie: ww=" + value, "Cookie: " + value, `Cookie: w="` + value + `"`,
		"Cookie: w=" + backends[0].Addr(), "Cookie: w=" + strings.Repeat("A", 8000), "X-Cookie: w=" + value, "Cookie2: w=" + value,
	} {
		by := map[string]bool{}
		for range 3 {
			r := testkit.Get(t, w.Addr("web"), "/", cookie)
			if given(t, r) == "" {
				t.Errorf("%.80q counts", cookie)
			}
			by[r.Body] = true
		}
		if len(by) != 3 {
			t.Errorf("%.80q leads to %v only", cookie, by)
		}
	}
	keeps(t, w, mine, name)

	// nor does one of another pool, though key and backends are the same
	w.Apply(strings.Replace(both, "pool: web}", "pool: web2}", 1))
	if r := testkit.Get(t, w.Addr("web"), "/", mine); given(t, r) == "" || given(t, r) == value {
		t.Errorf("the cookie of another pool counts: %v", r)
	}
}

// The backend sees all cookies but Weir's, to the byte.
func TestStickyIsHidden(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		backends := three(t)
		w := testkit.StartOn(t, stuck(setup{backends: at(backends...)}), o)
		cookie, name := bound(t, w)
		own := strings.TrimPrefix(cookie, "Cookie: ")
		b := backends[name[0]-'a']
		f := func(known bool, lines ...string) {
			t.Helper()
			sent, want := []string{"Host: a", "X-First: 1"}, []string{}
			for i := 0; i < len(lines); i += 2 {
				sent = append(sent, strings.ReplaceAll(lines[i], "OWN", own))
				if lines[i+1] != "" {
					want = append(want, lines[i+1])
				}
			}
			sent = append(sent, "X-Last: 1")
			r := testkit.Get(t, w.Addr("web"), "/", sent...)
			if id := given(t, r); (id == "") != known || known && r.Body != name {
				t.Errorf("%q: %s with %q", sent, r.Body, id)
			}
			head := backends[r.Body[0]-'a'].Last()
			_, middle, _ := strings.Cut(head, "X-First: 1\r\n")
			middle, _, ok := strings.Cut(middle, "X-Last: 1\r\n")
			if wanted := strings.Join(append(want, ""), "\r\n"); !ok || middle != wanted {
				t.Errorf("%q: the backend sees %q, want %q", sent, middle, wanted)
			}
		}
		// alone, and among others
		f(true, "Cookie: OWN", "")
		f(true, "Cookie: a=1; OWN; b=2", "Cookie: a=1; b=2")
		f(true, "Cookie: OWN; b=2", "Cookie: b=2")
		f(true, "Cookie: a=1; OWN", "Cookie: a=1")
		f(true, "cOOkie: a=1;OWN;b=2", "cOOkie: a=1;b=2")
		f(true, "Cookie:   OWN ;  a=1 ;b=\"x y\"; c==; ;d", "Cookie: a=1 ;b=\"x y\"; c==; ;d")
		f(true, "Cookie: a=1 ;\tOWN\t;b=2", "Cookie: a=1 ;b=2")
		f(true, "Cookie: OWN;", "")
		f(true, "Cookie: a=w=1; OWN; ww=2; W=3", "Cookie: a=w=1; ww=2; W=3")
		// on several lines
		f(true, "Cookie: a=1", "Cookie: a=1", "Cookie: OWN", "", "cookie:b=2 ", "cookie:b=2 ")
		f(true, "Cookie: OWN; a=1", "Cookie: a=1", "X-Other: OWN", "X-Other: "+own, "Cookie: b=2", "Cookie: b=2")
		// twice: the one that says something counts, and neither is seen
		f(true, "Cookie: w=stale; OWN; a=1", "Cookie: a=1")
		f(true, "Cookie: OWN; w=stale; a=1", "Cookie: a=1")
		f(true, "Cookie: a=1; w=stale", "Cookie: a=1", "Cookie: OWN", "")
		// whatever its value
		f(false, "Cookie: w=; a=1", "Cookie: a=1")
		f(false, "Cookie: a=1; w=nobody", "Cookie: a=1")
		f(false, "Cookie: w = nobody; a=1", "Cookie: a=1")
		// without it nothing changes
		f(false, "Cookie:  a=1 ; w; ww=1 ", "Cookie:  a=1 ; w; ww=1 ")
		f(false, "Cookie:", "Cookie:")
		// it cannot be hidden from Weir
		f(true, "Cookie: a=1; OWN", "Cookie: a=1", "Connection: cookie", "")
		if b.Requests.Load() == 0 {
			t.Error("nobody was asked")
		}
	})
}

// A drained backend serves its clients, and nobody else.
func TestStickyDrain(t *testing.T) {
	backends := three(t)
	w := testkit.StartOn(t, stuck(setup{backends: at(backends...)}), single)
	cookie := boundTo(t, w, "a")
	drain := func(what string, out, in func()) {
		t.Helper()
		out()
		keeps(t, w, cookie, "a")
		for range 10 {
			if _, name := bound(t, w); name == "a" {
				t.Errorf("%s: a new client is sent there", what)
			}
		}
		keeps(t, w, cookie, "a")
		in()
		boundTo(t, w, "a")
		keeps(t, w, cookie, "a")
	}
	drain("drain", func() { mark(t, w, backends[0], pool.Drain) }, func() { mark(t, w, backends[0], pool.Ready) })
	weigh := func(n int) {
		if err := w.Control.Weigh("web", backends[0].Addr(), n, control.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	drain("weight 0", func() { weigh(0) }, func() { weigh(pool.Configured) })
	weighed := at(backends...)
	weighed[0] = strings.Replace(weighed[0], "}", ", weight: 0}", 1)
	drain("a configured weight of 0", func() { w.Apply(stuck(setup{backends: weighed})) }, func() { w.Apply(stuck(setup{backends: at(backends...)})) })

	// who was sent there before it was drained, and is answered after, is not bound
	asked, release := make(chan bool), make(chan bool)
	backends[0].Become(func(x *testkit.Exchange) bool { asked <- true; <-release; return testkit.Named("a")(x) })
	mark(t, w, backends[1], pool.Drain)
	mark(t, w, backends[2], pool.Drain)
	late := testkit.Dial(t, w.Addr("web"))
	late.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	await(t, asked, "request")
	mark(t, w, backends[1], pool.Ready)
	mark(t, w, backends[0], pool.Drain)
	close(release)
	if r := late.Read("GET"); r.Body != "a" || given(t, r) != "" {
		t.Errorf("%v", r)
	}
}

// A backend that is out loses its clients: they get another one, and its cookie.
func TestStickyMovesOn(t *testing.T) {
	backends := three(t)
	w := testkit.StartOn(t, stuck(setup{backends: at(backends...), pool: "health: {passive: {consecutive_errors: 3, ejection: 1h}}\n"}), single)
	a := boundTo(t, w, "a")
	mark(t, w, backends[0], pool.Maintenance)
	moves(t, w, a, "a")
	mark(t, w, backends[0], pool.Ready)
	keeps(t, w, a, "a") // the old cookie is as good as it was

	w.Apply(stuck(setup{backends: at(backends[1:]...)}))
	moves(t, w, a, "a")
	w.Apply(stuck(setup{backends: at(backends...), pool: "health: {passive: {consecutive_errors: 3, ejection: 1h}}\n"}))
	keeps(t, w, a, "a")

	// while it fails, answers are what they are; ejected, it is left
	backends[0].Become(testkit.Answer(503, "sick"))
	for range 3 {
		if r := testkit.Get(t, w.Addr("web"), "/", a); r.Status != 503 || len(r.Values("Set-Cookie")) != 0 {
			t.Errorf("%v", r)
		}
	}
	w.Await("web", backends[0].Addr(), "ejected")
	moves(t, w, a, "a")
}

// A backend that refuses is left at once, whatever the method; one whose answer
// the route retries is, too. Without an answer from another one nothing changes.
func TestStickyRetries(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		backends := three(t)
		quiet := "health: {passive: {consecutive_errors: 0}}\n"
		w := testkit.StartOn(t, stuck(setup{backends: at(backends...), pool: quiet, route: "retries: {attempts: 1, on: [connect, 503]}"}), o)
		a := boundTo(t, w, "a")
		backends[0].Stop()
		moves(t, w, a, "a")
		if r := testkit.Dial(t, w.Addr("web")).Post("/", "body", a); r.Status != 200 || given(t, r) == "" {
			t.Errorf("a POST: %v", r)
		}
		if err := backends[0].Return(); err != nil {
			t.Fatal(err)
		}
		keeps(t, w, a, "a")
		backends[0].Become(testkit.Answer(503, "busy"))
		moves(t, w, a, "a")
		if r := testkit.Dial(t, w.Addr("web")).Post("/", "body", a); r.Status != 503 || len(r.Values("Set-Cookie")) != 0 {
			t.Errorf("a POST that is answered 503: %v", r)
		}
		for _, b := range backends {
			b.Stop()
		}
		r := testkit.Get(t, w.Addr("web"), "/", a)
		refused(t, r, 502, "connect_refused")
		if len(r.Values("Set-Cookie")) != 0 {
			t.Errorf("nobody has answered: %v", r)
		}
	})
}

// Where the own backend is only busy, another one helps out: the cookie stays.
func TestStickyOverflow(t *testing.T) {
	backends := three(t)
	release := make(chan bool)
	limited := at(backends...)
	limited[0] = strings.Replace(limited[0], "}", ", max_requests: 1}", 1)
	w := testkit.StartOn(t, stuck(setup{backends: limited, route: "retries: {attempts: 1}"}), single)
	a := boundTo(t, w, "a")
	backends[0].Become(func(x *testkit.Exchange) bool { <-release; return testkit.Named("a")(x) })
	busy := testkit.Dial(t, w.Addr("web"))
	n := backends[0].Requests.Load()
	busy.Send("GET / HTTP/1.1\r\nHost: a\r\n" + a + "\r\n\r\n")
	eventually(t, "the request is in work", func() bool { return backends[0].Requests.Load() > n })
	c := testkit.Dial(t, w.Addr("web"))
	for range 6 {
		if r := c.Get("/", a); r.Status != 200 || r.Body == "a" || given(t, r) != "" {
			t.Errorf("%v", r)
		}
	}
	// also when the one that helps out is the second that is asked
	backends[1].Stop()
	for range 3 {
		if r := c.Get("/", a); r.Body != "c" || given(t, r) != "" {
			t.Errorf("%v", r)
		}
	}
	close(release)
	if r := busy.Read("GET"); r.Body != "a" || given(t, r) != "" {
		t.Errorf("%v", r)
	}
	eventually(t, "it has room", func() bool { return w.Backend("web", backends[0].Addr()).InFlight == 0 })
	keeps(t, w, a, "a")
}

// A change of the configuration takes nobody's backend away; neither does a
// rollback.
func TestStickyReload(t *testing.T) {
	backends := three(t)
	w := testkit.StartOn(t, stuck(setup{backends: at(backends...)}), single)
	a := boundTo(t, w, "a")
	w.Apply(stuck(setup{backends: at(backends[2], backends[0]), pool: "balance: random\n"}))
	keeps(t, w, a, "a")
	w.Apply(setup{backends: at(backends...)}.yaml())
	if r := testkit.Get(t, w.Addr("web"), "/", a); len(r.Values("Set-Cookie")) != 0 || !strings.Contains(all(backends), a) {
		t.Errorf("nobody sticks, but %v; backends saw\n%s", r, all(backends))
	}
	w.Rollback(0)
	keeps(t, w, a, "a")
	w.Apply(strings.Replace(stuck(setup{backends: at(backends...)}), "cookie: w", "cookie: other", 1))
	if r := testkit.Get(t, w.Addr("web"), "/", "Cookie: "+strings.Replace(a, "Cookie: w=", "other=", 1)); r.Body != "a" || r.Header("Set-Cookie") != "" {
		t.Errorf("under another name: %v", r)
	}
}

// all is every head that backends got.
func all(backends []*testkit.Backend) string {
	var text strings.Builder
	for _, b := range backends {
		text.WriteString(strings.Join(b.Heads(), ""))
	}
	return text.String()
}

// attributes are those of the cookie for a client that sends these lines.
func attributes(t *testing.T, w *testkit.Weir, lines ...string) string {
	t.Helper()
	_, rest, _ := strings.Cut(testkit.Get(t, w.Addr("web"), "/", lines...).Header("Set-Cookie"), "; ")
	return rest
}

func TestStickyAttributes(t *testing.T) {
	b := three(t)[:1]
	const plain = "Path=/; HttpOnly; SameSite=Lax"
	w := testkit.StartOn(t, stuck(setup{backends: at(b...)}), single)
	f := func(want string, lines ...string) {
		t.Helper()
		if got := attributes(t, w, lines...); got != want {
			t.Errorf("with %q: %q, want %q", lines, got, want)
		}
	}
	f(plain)
	f(plain, "X-Forwarded-Proto: https") // anybody can say so
	sticky := func(keys string) {
		w.Apply(setup{backends: at(b...), listener: "trusted_proxies: [127.0.0.1]", pool: "sticky: {" + keys + "}\n"}.yaml())
	}
	sticky("cookie: w")
	f(plain, "X-Forwarded-Proto: http")
	f(plain+"; Secure", "X-Forwarded-Proto: https")
	f(plain+"; Secure", "X-Forwarded-Proto: HTTPS, http")
	f(plain, "X-Forwarded-Proto: http, https")
	sticky("cookie: w, ttl: 1h")
	f(plain + "; Max-Age=3600")
	f(plain+"; Max-Age=3600; Secure", "X-Forwarded-Proto: https")
	sticky("cookie: w, ttl: 1ms") // 0 would delete it
	f(plain + "; Max-Age=1")
	sticky("cookie: __Host-w")
	f(plain + "; Secure")
	sticky("cookie: __Secure-w")
	f(plain + "; Secure")
}

// An answer with the cookie is for one client. One that is for all has none.
func TestStickyAndCaches(t *testing.T) {
	b := three(t)[0]
	w := testkit.StartOn(t, stuck(setup{backends: at(b)}), single)
	cookie, _ := bound(t, w)
	f := func(m testkit.Manner, cookies bool, caching ...string) {
		t.Helper()
		b.Become(m)
		r := testkit.Get(t, w.Addr("web"), "/")
		if got := r.Values("Cache-Control"); fmt.Sprint(got) != fmt.Sprint(caching) || (len(r.Values("Set-Cookie")) > 0) != cookies {
			t.Errorf("%v: Cache-Control %q, want %q; cookie %v", r, got, caching, cookies)
		}
		if r := testkit.Get(t, w.Addr("web"), "/", cookie); len(r.Values("Set-Cookie")) != 0 || !cookies && fmt.Sprint(r.Values("Cache-Control")) != fmt.Sprint(caching) {
			t.Errorf("a client that has one: %v", r)
		}
	}
	says := func(lines ...string) testkit.Manner { return testkit.Answer(200, "a", lines...) }
	f(says(), true, "private")
	f(says("Expires: Thu, 01 Jan 2099 00:00:00 GMT"), true, "private")
	f(says("Cache-Control: max-age=60"), true, "max-age=60", "private")
	f(says("Cache-Control: no-cache"), true, "no-cache", "private")
	f(says(`Cache-Control: private="x"`), true, `private="x"`, "private")
	f(says("Cache-Control: No-Store"), true, "No-Store")
	f(says("cache-control: max-age=0, Private"), true, "max-age=0, Private")
	f(says("Cache-Control: max-age=60", "Cache-Control: private"), true, "max-age=60", "private")
	f(says("Cache-Control: public, private"), true, "public, private")
	// meant for everybody
	f(says("Cache-Control: public, max-age=60"), false, "public, max-age=60")
	f(says("Cache-Control: max-age=60", "Cache-Control: x, s-maxage = 5"), false, "max-age=60", "x, s-maxage = 5")
	f(says("Cache-Control: S-MaxAge=5"), false, "S-MaxAge=5")
	f(testkit.Raw("HTTP/1.1 304 Not Modified\r\n\r\n", true), false)
	// no place to stay
	for _, status := range []int{502, 503, 504} {
		f(testkit.Answer(status, "sick"), false)
	}
	for _, status := range []int{204, 302, 404, 500} {
		f(testkit.Raw(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status), true), true, "private")
	}
	// the operator's rules have the last word
	rules := func(text string) { w.Apply(stuck(setup{backends: at(b), route: "response_headers: " + text})) }
	rules("{set: {Cache-Control: no-cache}}")
	f(says("Cache-Control: public"), true, "no-cache")
	rules("{set: {cache-control: 'public, max-age=5'}}")
	f(says("Cache-Control: private"), false, "public, max-age=5")
	rules("{add: {Cache-Control: max-age=5}}")
	f(says(), true, "private", "max-age=5")
	rules("{remove: [Cache-Control]}")
	f(says("Cache-Control: public"), true)
	rules("{remove: [Set-Cookie]}")
	f(says(), false)
}

// The name is Weir's: what a backend sets under it does not reach the client.
func TestStickyOwnsItsName(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		b := testkit.NewBackend(t, testkit.Answer(200, "a", "Set-Cookie: w=mine; Path=/", "Set-Cookie: x=w; w=2", "set-cookie:w =", "Set-Cookie: ww=1", "Set-Cookie: w"))
		w := testkit.StartOn(t, stuck(setup{backends: at(b)}), o)
		r := testkit.Get(t, w.Addr("web"), "/")
		got := r.Values("Set-Cookie")
		if len(got) != 4 || got[0] != "x=w; w=2" || got[1] != "ww=1" || got[2] != "w" || !stickyLine.MatchString(got[3]) {
			t.Errorf("%q", got)
		}
		cookie, _, _ := strings.Cut(got[3], ";")
		if got := testkit.Get(t, w.Addr("web"), "/", "Cookie: "+cookie).Values("Set-Cookie"); len(got) != 3 {
			t.Errorf("%q", got)
		}
	})
}

// A WebSocket binds its client like any other answer, and keeps its backend.
func TestStickyWebSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, o loop.Options) {
		backends := []*testkit.Backend{testkit.NewBackend(t, testkit.WebSocket), testkit.NewBackend(t, testkit.WebSocket)}
		w := testkit.StartOn(t, stuck(setup{backends: at(backends...)}), o)
		c := testkit.Dial(t, w.Addr("web"))
		c.Send(handshake)
		r := c.Read("GET")
		m := stickyLine.FindStringSubmatch(r.Header("Set-Cookie"))
		if r.Status != 101 || m == nil {
			t.Fatal(r)
		}
		echoes(t, c, "hello")
		first := backends[0]
		if first.Requests.Load() == 0 {
			first = backends[1]
		}
		for range 3 {
			again := testkit.Dial(t, w.Addr("web"))
			again.Send(strings.Replace(handshake, "Host: a\r\n", "Host: a\r\nCookie: x=1; w="+m[1]+"\r\n", 1))
			if r := again.Read("GET"); r.Status != 101 || r.Header("Set-Cookie") != "" {
				t.Fatal(r)
			}
			echoes(t, again, "again")
		}
		if n := first.Requests.Load(); n != 4 || strings.Contains(first.Last(), m[1]) || !strings.Contains(first.Last(), "Cookie: x=1\r\n") {
			t.Errorf("the client's backend got %d of 4 requests, the last\n%s", n, first.Last())
		}
	})
}

// HEAD and HTTP/1.0, answers of every framing and compressed ones bind as well.
func TestStickyAnswersOfAllKinds(t *testing.T) {
	b := testkit.NewBackend(t, testkit.ByPath(map[string]testkit.Manner{
		"/":       testkit.Answer(200, "a"),
		"/chunks": testkit.Chunked([]string{"a"}, nil),
		"/close":  testkit.Raw("HTTP/1.1 200 OK\r\n\r\na", false),
		"/text":   testkit.Answer(200, strings.Repeat("text ", 1000), "Content-Type: text/plain"),
		"/early":  testkit.Interim(103, testkit.Answer(200, "a"), "Link: x"),
	}))
	w := testkit.StartOn(t, stuck(setup{backends: at(b), route: "compress: true"}), single)
	c := testkit.Dial(t, w.Addr("web"))
	for _, line := range []string{"GET /", "HEAD /", "POST /", "GET /chunks", "GET /close", "GET /text", "OPTIONS /", "GET /early"} {
		r := c.Do(line, "Accept-Encoding: gzip")
		if r.Status == 103 {
			if len(r.Values("Set-Cookie")) > 0 {
				t.Errorf("an interim answer: %v", r)
			}
			r = c.Read("GET")
		}
		if r.Status != 200 || given(t, r) == "" {
			t.Errorf("%s: %v", line, r)
		}
	}
	c.Send("GET / HTTP/1.0\r\n\r\n")
	if r := c.Read("GET"); given(t, r) == "" {
		t.Error(r)
	}
	// what Weir answers itself binds nobody
	b.Become(testkit.CloseBeforeHead)
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 502 || r.Header("Set-Cookie") != "" {
		t.Error(r)
	}
	b.Become(testkit.HalfBody(10, 0)) // an answer that cannot be completed
	if r := testkit.Get(t, w.Addr("web"), "/"); r.Status != 502 || r.Header("Set-Cookie") != "" {
		t.Error(r)
	}
}

// Rules for requests come after: one about Cookie is about all of them.
func TestStickyAndRequestRules(t *testing.T) {
	b := three(t)[0]
	w := testkit.StartOn(t, stuck(setup{backends: at(b), route: "request_headers: {set: {Cookie: op=1}}"}), single)
	cookie, _ := bound(t, w)
	keeps(t, w, cookie+"; a=1", "a")
	if got := values(strings.Split(b.Last(), "\r\n"), "Cookie"); len(got) != 1 || got[0] != "op=1" {
		t.Errorf("the backend sees %q", got)
	}
}
