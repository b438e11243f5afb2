package proxy_test

import (
	"strings"
	"testing"

	"weir/internal/testkit"
)

// A path that one reader would take to another route is served by none.
func TestOneReading(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, setup{backends: at(b), routes: `{name: admin, match: {path: /admin}, respond: {status: 403}},
      {name: exact, match: {path_exact: /exact}, respond: {status: 403}}, {name: all, pool: web}`}.yaml())
	c := testkit.Dial(t, w.Addr("web"))
	f := func(target string, status int, forwarded string) {
		t.Helper()
		if !strings.Contains(target, " ") {
			c = testkit.Dial(t, w.Addr("web"))
		}
		c.Send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
		r := c.Read("GET")
		if r.Status != status || status == 200 && !strings.HasPrefix(r.Body, "GET "+forwarded+" HTTP/1.1\r\n") {
			t.Errorf("%s: %v, want %d %s", target, r, status, forwarded)
		}
	}
	f("/admin", 403, "")
	f("/admin/x", 403, "")
	f("/%61dmin/x", 403, "")
	f("//admin", 403, "")
	f("/x/../admin", 403, "")
	f("/x/%2e%2E/admin", 403, "")
	// to some readers these are under /admin
	f("/admin%2fx", 400, "")
	f("/admin%5Cx", 400, "")
	f(`/admin\x`, 400, "")
	f("/x/..%2fadmin", 400, "")
	f(`/x\..\admin`, 400, "")
	f("/admin;a=b", 400, "")
	f("/admin;/x", 400, "")
	f("/x/..;/admin", 400, "")
	f("/x;a/..;b/admin", 400, "")
	f("/%2561dmin", 400, "")
	f("/x/%252e%252e/admin", 400, "")
	f("/x/..%252fadmin", 400, "")
	f("/exact;a", 400, "")
	f("/admin%3ba", 400, "")
	f("/x/..;%2fadmin", 400, "")
	f("/x/..%3b/admin", 400, "")
	f("/x/..%253b/admin", 400, "")
	f("/exact%3Fx", 400, "")
	f("/admin%23", 400, "")
	f("/"+strings.Repeat("%25", 3000), 400, "")
	// or not, when to others they are
	f("/admin/..%2fx", 400, "")
	f("/admin/..;/x", 400, "")
	// above the root for some
	f("/..;/x", 400, "")
	f("/..%2fx", 400, "")
	// overlong UTF-8 is a dot or a slash to nobody who can read
	f("/x/%c0%ae%c0%ae/admin", 400, "")
	f("/x/\xc0\xae\xc0\xae/admin", 400, "")
	f("/x/%e0%80%ae/admin", 400, "")
	// all readers agree
	f("/group%2Fproject/x", 200, "/group%2Fproject/x")
	f("/a;v=1/b", 200, "/a;v=1/b")
	f("/100%25", 200, "/100%25")
	f("/a%252Fb", 200, "/a%252Fb")
	f("/caf%c3%a9", 200, "/caf%C3%A9")
	f("/%C1rbol", 200, "/%C1rbol") // Latin-1
	f(`/a"<b>{c}|d^`+"`?q=\"<e>[]{}%zz", 200, "/a%22%3Cb%3E%7Bc%7D%7Cd%5E%60?q=%22%3Ce%3E[]{}%zz")
	f("/caf\xc3\xa9", 400, "")
	f("/?q=\xc3\xa9", 400, "")
}

// What goes on of a path is the operator's choice; where it goes is not.
func TestPathHandling(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Echo)
	w := testkit.Start(t, setup{backends: at(b), listener: "path_handling: reject",
		routes: `{name: admin, match: {path: /raw/admin}, respond: {status: 403}, path_handling: normalize},
      {name: raw, match: {path: /raw}, pool: web, path_handling: raw}, {name: normal, match: {path: /normal}, pool: web, path_handling: normalize},
      {name: strip, match: {path: /strip}, pool: web, path_handling: normalize, rewrite: {strip_prefix: /strip}}, {name: strict, pool: web}`}.yaml())
	f := func(target string, status int, forwarded string) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		c.Send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if r := c.Read("GET"); r.Status != status || status == 200 && !strings.HasPrefix(r.Body, "GET "+forwarded+" HTTP/1.1\r\n") {
			t.Errorf("%s: %v, want %d %s", target, r, status, forwarded)
		}
	}
	f("/normal/a//b/../%7ec", 200, "/normal/a/~c")
	f("/raw/a//b/../%7ec?x=%41", 200, "/raw/a//b/../%7ec?x=%41")
	f("/raw/x/../admin", 403, "")
	f("/x/../raw/a", 400, "") // to who does not resolve dots it is not under /raw
	f("/%72aw/a", 400, "")    // nor is this to who does not decode
	f("/raw/x%2f..%2fadmin", 400, "")
	// what Weir resolves away is there for the backend to read
	f("/raw/x/;/../admin", 400, "")
	f("/raw/x/..%2fq/../admin", 400, "")
	f("/raw/x/%3b/../admin", 400, "")
	f("/raw/x/y/..%2f/../../admin", 400, "")
	f("/strict/a", 200, "/strict/a")
	f("/strict/a%2Fb", 200, "/strict/a%2Fb") // normal
	f("/strict//a", 400, "")
	f("/strict/%61", 400, "")
	f("/strict/a/./b", 400, "")
	f("/strict/a%2fb", 400, "")
	f("/strip//a/../b", 200, "/b")
}
