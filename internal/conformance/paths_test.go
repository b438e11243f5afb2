package conformance_test

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/internal/testkit"
)

// spellings are targets that some server takes for /admin or for what is below
// it. HOST is the proxy's address.
var spellings = []string{
	// slashes and dots
	"/admin", "/admin/", "/admin/x", "/admin?x", "/admin/?x", "//admin", "///admin", "//admin//x", "/./admin", "/././admin",
	"/admin/.", "/admin/..", "/admin/../admin", "/x/../admin", "/x/y/../../admin", "/../admin", "/../../admin/x",
	"/x/./../admin", "/x//../admin", "/.//admin", "/admin/x/..", "/admin/./x",

	// escapes
	"/%61dmin", "/%61%64%6d%69%6e", "/adm%69n", "/admi%6E", "/%2561dmin", "/%2e/admin", "/%2e%2e/admin", "/x/%2e%2e/admin",
	"/x/.%2e/admin", "/x/%2E./admin", "/x/%252e%252e/admin", "/%2fadmin", "/%2Fadmin", "/x/..%2fadmin", "/x%2f..%2fadmin",
	"/x%2f%2e%2e%2fadmin", "/admin%2f", "/admin%2fx", "/admin%2f..%2fadmin", "/.%2fadmin", "/%2e%2fadmin", "/x%2f../admin",
	"/x/%2e%2e%2fadmin", "/%2f%2fadmin", "/admin%2e%2e%2fadmin", "/admin%3f", "/admin%23", "/admin%00", "/admin%20", "/admin%09",

	// parameters
	"/admin;", "/admin;a=b", "/admin;a=b/x", "/;/admin", "/;a/admin", "/x/..;/admin", "/x/..;a=b/admin", "/.;/admin", "/..;/admin",
	"/admin;/../x", "/admin%3b", "/admin%3ba/x", "/x/..%3b/admin", "/x/%2e%2e;/admin", "/x;/../admin", "/x/..;%2fadmin", "/;%2fadmin",

	// backslashes
	"/\\admin", "\\admin", "/x\\..\\admin", "/x/..\\admin", "/admin\\x", "/admin\\", "/%5cadmin", "/x%5c..%5cadmin", "/x/..%5cadmin",
	"/admin%5cx", "/admin%5c..%5cadmin", "/x%5c%2e%2e%5cadmin", "/.\\admin", "/x\\../admin", "/x/..;\\admin", "/%5c%2fadmin",

	// fragments and other forms of a target
	"/admin#", "/admin#x", "/x#/../admin", "/#/../admin", "/x/../admin#x", "http://HOST/admin", "http://HOST//admin", "http://HOST/x/../admin",
	"http://HOST/%61dmin", "HTTP://HOST/admin", "http://HOST/admin#x", "//HOST/admin", "//HOST/../admin", "admin", "./admin",
}

// steps are what servers do to a path before they look it up, each of which
// some leave out, in an order of their own.
var steps = []func(string) string{
	decode,
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	func(p string) string {
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		return p
	},
	func(p string) string {
		segments := strings.Split(p, "/")
		for i, s := range segments {
			segments[i], _, _ = strings.Cut(s, ";")
		}
		return strings.Join(segments, "/")
	},
	func(p string) string { return path.Clean("/" + p) },
}

// decode reads escapes, and leaves what is none as it is.
func decode(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if i+2 < len(p) && p[i] == '%' {
			if c, err := strconv.ParseUint(p[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// readings are all that servers can make of a path with steps that they have
// not used yet.
func readings(p string, used []int) []string {
	all := []string{p}
	for i, step := range steps {
		if !slices.Contains(used, i) {
			all = append(all, readings(step(p), append(slices.Clone(used), i))...)
		}
	}
	return all
}

// underAdmin says in which reading a target is the forbidden path or below it.
func underAdmin(target string) (reading string, yes bool) {
	if after, found := strings.CutPrefix(target, "http://"); found {
		_, after, _ = strings.Cut(after, "/")
		target = "/" + after
	}
	target, _, _ = strings.Cut(target, "#")
	target, _, _ = strings.Cut(target, "?")
	for _, p := range readings(target, nil) {
		if p == "/admin" || strings.HasPrefix(p, "/admin/") {
			return p, true
		}
	}
	return "", false
}

// Whatever a path is spelled like, a rule for it is not walked around: what
// reaches the backend is under /admin for no backend, however it reads paths.
func TestPaths(t *testing.T) {
	origin := testkit.NewBackend(t, testkit.Answer(200, "in"))
	w := testkit.Start(t, fmt.Sprintf(`
listeners:
  - name: web
    address: "127.0.0.1:0"
    protocol: http
    routes:
      - {name: admin, match: {path: /admin}, respond: {status: 403, body: "no"}}
      - {name: all, pool: origin}
pools:
  origin: {backends: [{address: "%s"}]}
`, origin.Addr()))
	address := w.Addr("web")
	for _, spelling := range spellings {
		target := strings.ReplaceAll(spelling, "HOST", address)
		before := len(origin.Heads())
		c := testkit.Dial(t, address)
		c.Send("GET " + target + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: close\r\n\r\n")
		if _, err := c.TryRead("GET"); err != nil {
			t.Errorf("%q: %v", spelling, err)
		}
		for _, head := range origin.Heads()[before:] {
			got := strings.Fields(head)[1]
			if reading, yes := underAdmin(got); yes {
				t.Errorf("%q arrives as %q, which can be read as %q", spelling, got, reading)
			}
		}
	}
	// and what only looks similar is not refused
	for _, p := range []string{"/", "/administrator", "/x/admin", "/adm/in", "/x?/admin", "/x%20y/admin", "/ADMIN"} {
		if r := testkit.Get(t, address, p); r.Status != 200 {
			t.Errorf("%q: status %d", p, r.Status)
		}
	}
}

// A judge that finds nothing would be no judge.
func TestReadings(t *testing.T) {
	for _, target := range []string{"/admin", "/x/..;/admin", `/x%5c..%5cadmin/y`, "//admin", "/%61dmin?x", "/admin%2fx", "http://a/admin", "/x%2f..%2fadmin"} {
		if _, yes := underAdmin(target); !yes {
			t.Errorf("%q is not seen as a way to /admin", target)
		}
	}
	for _, target := range []string{"/", "/administrator", "/%2561dmin", "/x/admin", "/x?/admin", "/ADMIN"} {
		if p, yes := underAdmin(target); yes {
			t.Errorf("%q is seen as %q", target, p)
		}
	}
}
