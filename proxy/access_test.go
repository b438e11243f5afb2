package proxy_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"weir/internal/loop"
	"weir/internal/testkit"
)

func TestAllowAndDeny(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.Start(t, setup{backends: at(b), listener: "trusted_proxies: [127.0.0.1]",
		routes: `{name: allow, match: {path: /allow}, pool: web, allow: [10.0.0.0/8, "2001:db8::/32"]},
      {name: deny, match: {path: /deny}, pool: web, deny: [10.1.0.0/16]}, {name: both, match: {path: /both}, pool: web, allow: [10.0.0.0/8], deny: [10.1.2.3]}`}.yaml())
	f := func(path, client string, status int) {
		t.Helper()
		c := testkit.Dial(t, w.Addr("web"))
		var lines []string
		if client != "" {
			lines = append(lines, "X-Forwarded-For: "+client)
		}
		r := c.Get(path, lines...)
		if status == 403 {
			refused(t, r, 403, "denied")
			return
		}
		if r.Status != status {
			t.Errorf("%s from %q: %v", path, client, r)
		}
	}
	f("/allow", "", 403)
	f("/allow", "10.9.9.9", 200)
	f("/allow", "::ffff:10.9.9.9", 200)
	f("/allow", "2001:db8::1", 200)
	f("/allow", "2001:db9::1", 403)
	f("/deny", "", 200)
	f("/deny", "10.1.9.9", 403)
	f("/deny", "10.2.9.9", 200)
	f("/both", "10.1.2.3", 403)
	f("/both", "10.1.2.4", 200)
	f("/both", "11.1.2.4", 403)
}

func TestRateLimit(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	yaml := setup{backends: at(b), listener: "trusted_proxies: [127.0.0.1]",
		routes: `{name: ip, match: {path: /ip}, pool: web, rate_limit: {requests_per_second: 0.01, burst: 3}},
      {name: key, match: {path: /key}, pool: web, rate_limit: {requests_per_second: 0.01, burst: 1, key: "header:X-Key"}},
      {name: cookie, match: {path: /cookie}, respond: {status: 200}, rate_limit: {requests_per_second: 0.01, burst: 1, key: "cookie:id"}}`}.yaml()
	w := testkit.Start(t, yaml)
	c := testkit.Dial(t, w.Addr("web"))
	allowed := func(r *testkit.Reply) {
		t.Helper()
		if r.Status != 200 {
			t.Error(r)
		}
	}
	limited := func(r *testkit.Reply) {
		t.Helper()
		refused(t, r, 429, "rate_limited")
		if after, _ := strconv.Atoi(r.Header("Retry-After")); after < 50 || after > 100 || !r.Persists() {
			t.Error(r)
		}
	}
	for i := range 3 {
		r := c.Get("/ip")
		allowed(r)
		if r.Header("RateLimit-Policy") != `"ip";q=3;w=300` || !strings.HasPrefix(r.Header("RateLimit"), `"ip";r=`+itoa(2-i)+";t=") {
			t.Errorf("request %d: %q %q", i, r.Header("RateLimit-Policy"), r.Header("RateLimit"))
		}
	}
	r := c.Get("/ip")
	limited(r)
	if !strings.HasPrefix(r.Header("RateLimit"), `"ip";r=0;t=`) {
		t.Error(r)
	}
	// clients are told apart, but not within a /64
	allowed(c.Get("/ip", "X-Forwarded-For: 192.0.2.1"))
	for i := range 3 {
		allowed(c.Get("/ip", "X-Forwarded-For: 2001:db8::"+itoa(i+1)))
	}
	limited(c.Get("/ip", "X-Forwarded-For: 2001:db8::ffff"))
	allowed(c.Get("/ip", "X-Forwarded-For: 2001:db8:0:1::1"))

	allowed(c.Get("/key", "X-Key: a"))
	limited(c.Get("/key", "X-Key: a"))
	allowed(c.Get("/key", "X-Key: b"))
	allowed(c.Get("/key"))
	limited(c.Get("/key"))

	// who sends several is counted by address: which one counts is not known
	limited(c.Get("/key", "X-Key: c\r\nX-Key: d"))
	limited(c.Get("/key", "X-Key: e\r\nX-Key: f"))

	allowed(c.Get("/cookie", "Cookie: other=1; id=a"))
	limited(c.Get("/cookie", "Cookie: id=a; other=2"))
	allowed(c.Get("/cookie", "Cookie: id=b"))

	// a change of the configuration forgives nothing
	w.Apply(strings.Replace(yaml, "burst: 3", "burst: 2", 1))
	limited(c.Get("/ip"))
	w.Apply(strings.Replace(yaml, "path: /ip}", "path: /other}", 1))
	limited(c.Get("/other"))
	w.Rollback(0)
	limited(c.Get("/ip"))
}

// Of many clients that ask at once exactly as many pass as may.
func TestRateLimitOfManyAtOnce(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.StartOn(t, setup{backends: at(b), route: "rate_limit: {requests_per_second: 0.001, burst: 100}"}.yaml(), loop.Options{Loops: 4})
	var passed, limited atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := testkit.Dial(t, w.Addr("web"))
			for range 50 {
				switch r := c.Get("/"); r.Status {
				case 200:
					passed.Add(1)
				case 429:
					limited.Add(1)
				default:
					t.Error(r)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 100 || limited.Load() != 300 {
		t.Errorf("%d passed and %d did not, want 100 and 300", passed.Load(), limited.Load())
	}
}

func TestBasicAuth(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(users, []byte("ali:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.StartOn(t, setup{backends: at(b), route: `basic_auth: {users_file: "` + users + `", realm: Cave}`}.yaml(), loop.Options{Loops: 2})
	c := testkit.Dial(t, w.Addr("web"))
	r := c.Get("/")
	refused(t, r, 401, "unauthorized")
	if r.Header("WWW-Authenticate") != `Basic realm="Cave", charset="UTF-8"` || !r.Persists() {
		t.Error(r)
	}
	for _, bad := range []string{
		"Authorization: Basic YWxpOndyb25n",         // ali:wrong
		"Authorization: Basic Ym9iOm9wZW4gc2VzYW1l", // bob:open sesame
		"Authorization: Basic !!", "Authorization: Bearer x", "Authorization: ",
		"Authorization: Basic YWxpOm9wZW4gc2VzYW1l\r\nAuthorization: Basic YWxpOm9wZW4gc2VzYW1l",
	} {
		refused(t, c.Get("/", bad), 401, "unauthorized")
	}
	for range 3 {
		if r := c.Get("/", "Authorization: Basic YWxpOm9wZW4gc2VzYW1l"); r.Status != 200 {
			t.Error(r)
		}
	}
	if n := b.Requests.Load(); n != 3 {
		t.Errorf("%d requests reached the backend, want 3", n)
	}
	// a file that cannot be read is no configuration
	v, err := w.TryApply(setup{backends: at(b), route: `basic_auth: {users_file: /nowhere/users}`}.yaml())
	if err == nil && v.Result == "applied" {
		t.Errorf("applied: %+v", v)
	}
	if r := c.Get("/", "Authorization: Basic YWxpOm9wZW4gc2VzYW1l"); r.Status != 200 {
		t.Error(r)
	}
}
