package control_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"weir/internal/control"
	"weir/internal/testkit"
)

// stickyPool is a configuration whose clients keep their backend.
func stickyPool(keys string, backends ...*testkit.Backend) string {
	return pooling(backends...) + "    sticky: {" + keys + "}\n"
}

// visit asks with a cookie, "" for none, and returns who answered and the cookie
// that came with it.
func (r *rig) visit(cookie string) (who, given string) {
	r.t.Helper()
	req, err := http.NewRequest("GET", "http://"+r.proxy.ListenerAddr("web").String()+"/", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if cookie != "" {
		req.Header.Set("Cookie", "w="+cookie)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		if c.Name == "w" {
			given = c.Value
		}
	}
	return string(body), given
}

// wantVisits checks that clients go where they have been.
func (r *rig) wantVisits(cookies map[string]string) {
	r.t.Helper()
	for cookie, want := range cookies {
		for range 3 {
			if who, given := r.visit(cookie); who != want || given != "" {
				r.t.Errorf("a client of %s is served by %s and gets %q", want, who, given)
			}
		}
	}
}

// wantStrangers checks that these cookies are nobody's.
func (r *rig) wantStrangers(cookies map[string]string) {
	r.t.Helper()
	for cookie := range cookies {
		if _, given := r.visit(cookie); given == "" || given == cookie {
			r.t.Errorf("%q still counts, and %q is given", cookie, given)
		}
	}
}

// visitors are two clients of different backends: cookies and who served them.
func (r *rig) visitors() map[string]string {
	r.t.Helper()
	cookies := make(map[string]string)
	for range 2 {
		who, given := r.visit("")
		cookies[given] = who
	}
	if len(cookies) != 2 || cookies[""] != "" {
		r.t.Fatalf("two new clients got %v", cookies)
	}
	return cookies
}

func twoNamed(t *testing.T) (a, b *testkit.Backend) {
	t.Helper()
	return testkit.NewBackend(t, testkit.Named("a")), testkit.NewBackend(t, testkit.Named("b"))
}

// The key that Weir makes lies beside its history, for its eyes alone, and
// cookies outlive a restart by it.
func TestStickyKeySurvivesARestart(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := twoNamed(t)
	r := newRig(t, pooling(a, b)).start()
	path := filepath.Join(filepath.Dir(r.path), ".weir", "sticky.key")
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a key, and nobody sticks")
	}
	r.mustApply(stickyPool("cookie: w", a, b))
	cookies := r.visitors()
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != 0o600 {
		t.Fatalf("%v, %v", fi, err)
	}
	key, err := os.ReadFile(path)
	if err != nil || len(strings.TrimSpace(string(key))) != 64 {
		t.Errorf("the key is %q, %v", key, err)
	}
	r.write(stickyPool("cookie: w, ttl: 1h", b, a))
	r.restart()
	r.wantVisits(cookies)
	if again, _ := os.ReadFile(path); string(again) != string(key) {
		t.Error("the key is another one")
	}
	if strings.Contains(r.allLogs(), strings.TrimSpace(string(key))) {
		t.Error("the log shows the key")
	}

	// without the file it is another Weir
	r.stop()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantStrangers(cookies)
}

func (r *rig) allLogs() string {
	var all strings.Builder
	for _, e := range r.logs.All() {
		all.WriteString(e.Message)
		for _, f := range e.Context {
			all.WriteString(f.String)
		}
	}
	return all.String()
}

// A key that cannot be kept is no reason not to serve: it is said, and holds
// until the next start.
func TestStickyKeyThatCannotBeKept(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := twoNamed(t)
	r := newRig(t, stickyPool("cookie: w", a, b))
	path := filepath.Join(filepath.Dir(r.path), ".weir", "sticky.key")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantSaid(zap.ErrorLevel, "sticky cookies", path, "is a directory")
	cookies := r.visitors()
	r.mustApply(stickyPool("cookie: w, ttl: 1h", a, b))
	r.wantVisits(cookies)

	// it is kept as soon as it can be
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.mustApply(stickyPool("cookie: w", a, b))
	r.write(stickyPool("cookie: w", a, b))
	r.restart()
	r.wantVisits(cookies)

	// what is no key is left alone
	r.stop()
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantSaid(zap.ErrorLevel, "sticky cookies", path+" has 5 bytes")
	r.wantStrangers(cookies)
	if left, _ := os.ReadFile(path); string(left) != "short\n" {
		t.Errorf("the file now has %q", left)
	}
}

// With the same secret several Weirs give the same cookies; space around it does
// not count.
func TestStickySecretFile(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := twoNamed(t)
	source := stickyPool("cookie: w, secret_file: keys/secret", a, b)
	withSecret := func(text string) *rig {
		r := newRig(t, source)
		r.secret(text)
		return r.start()
	}
	one := withSecret("  0123456789abcdef\n\n")
	cookies := one.visitors()
	one.stop()
	if _, err := os.Stat(filepath.Join(filepath.Dir(one.path), ".weir", "sticky.key")); err == nil {
		t.Error("there is a key of Weir's own, too")
	}
	two := withSecret("0123456789abcdef")
	two.wantVisits(cookies)
	two.stop()

	// it is read at each change, also where that is about something else
	three := withSecret("another secret of enough bytes")
	three.wantStrangers(cookies)
	three.secret("0123456789abcdef")
	three.mustApply("# with a new secret\n" + source)
	three.wantVisits(cookies)
}

// secret writes keys/secret beside the configuration.
func (r *rig) secret(text string) {
	r.t.Helper()
	dir := filepath.Join(filepath.Dir(r.path), "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// A secret that cannot be one is refused, and says where and why. A rollback goes
// on with the one that ran.
func TestStickySecretFileThatIsWrong(t *testing.T) {
	testkit.NoLeaks(t)
	a, b := twoNamed(t)
	r := newRig(t, pooling(a, b)).start()
	dir := filepath.Dir(r.path)
	f := func(content string, want ...string) {
		t.Helper()
		r.secret(content)
		v := r.apply(stickyPool("cookie: w, secret_file: keys/secret", a, b))
		if v.Result != control.Failed || v.Version != 1 {
			t.Errorf("%.20q: %+v", content, v)
		}
		for _, part := range append(want, "pools.api.sticky.secret_file: ", filepath.Join(dir, "keys", "secret")) {
			if !strings.Contains(v.Message, part) {
				t.Errorf("%.20q: %q does not say %q", content, v.Message, part)
			}
		}
	}
	f("", "has 0 bytes", "at least 16")
	f(" fifteen bytes!! \n", "has 15 bytes", "openssl rand")
	f(strings.Repeat("x", 4097), "more than 4096 bytes")
	r.secret("0123456789abcdef")
	v := r.apply(stickyPool("cookie: w, secret_file: "+filepath.Join(dir, "nowhere"), a, b))
	if v.Result != control.Failed || !strings.Contains(v.Message, "nowhere: no such file") {
		t.Errorf("%+v", v)
	}
	r.wantGet("200 a")

	r.mustApply(stickyPool("cookie: w, secret_file: keys/secret", a, b))
	cookies := r.visitors()
	r.mustApply(stickyPool("cookie: w", a, b))
	r.wantStrangers(cookies)
	r.secret("short")
	r.mustRollback(2)
	r.wantVisits(cookies)
	r.wantSaid(zap.ErrorLevel, "the secret of before stays in force", "pool:api", "has 5 bytes")
}

// What changes is told as a change of the pool.
func TestStickyPlan(t *testing.T) {
	a, b := twoNamed(t)
	r := newRig(t, pooling(a, b)).start()
	v := r.mustApply(stickyPool("cookie: w, ttl: 1h", a, b))
	if want := `pool api: sticky.cookie "" -> w, sticky.ttl 0s -> 1h0m0s`; len(v.Plan) != 1 || v.Plan[0].String() != want {
		t.Errorf("plan %q, want %q", v.Plan, want)
	}
}
