package basicauth

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func basic(text string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(text)))
}

func TestCredentials(t *testing.T) {
	f := func(header, name, password string, ok bool) {
		t.Helper()
		n, p, got := credentials([]byte(header))
		if n != name || string(p) != password || got != ok {
			t.Errorf("%q: %q %q %v", header, n, p, got)
		}
	}
	f("Basic YWxpOnNlY3JldA==", "ali", "secret", true)
	f("bAsIC   YWxpOnNlY3JldA==", "ali", "secret", true)
	f(string(basic("ali:")), "ali", "", true)
	f(string(basic("ali:a:b")), "ali", "a:b", true)
	f(string(basic("\u00e9ve:\u00e9")), "\u00e9ve", "\u00e9", true)
	f(string(basic("a:"+strings.Repeat("x", maxPassword))), "a", strings.Repeat("x", maxPassword), true)
	for _, bad := range []string{
		"", "Basic", "Basic ", "Basic x", "Basic YWxpOnNlY3JldA", "Basic YWxpOnNlY3JldA== ", "Basic YWxpOnNlY3JldA==x", "Basic\tYWxpOnNlY3JldA==",
		"Bearer YWxpOnNlY3JldA==", "YWxpOnNlY3JldA==", "Basic YWxpOnNlY3JldB==", "Basic YWxp\nOnNlY3JldA==",
		string(basic("ali")), string(basic(":secret")), string(basic("ali:a\nb")), string(basic("ali:\x00")), string(basic("a:" + strings.Repeat("x", maxPassword+1))),
		"Basic " + strings.Repeat("A", maxHeader),
	} {
		f(bad, "", "", false)
	}
}

// What is accepted is what another reader finds in it.
func FuzzCredentials(f *testing.F) {
	f.Add("Basic YWxpOnNlY3JldA==")
	f.Add("basic  Og==")
	f.Fuzz(func(t *testing.T, header string) {
		name, password, ok := credentials([]byte(header))
		if !ok {
			return
		}
		_, encoded, _ := strings.Cut(header, " ")
		text, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " "))
		if err != nil || string(text) != name+":"+string(password) || strings.Contains(name, ":") || name == "" {
			t.Fatalf("%q: %q %q; decoded %q, %v", header, name, password, text, err)
		}
	})
}

// guard is a Guard of ali:secret, and the path of its file.
func guard(t *testing.T) (*Guard, string, *[]error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	write(t, path, "ali:"+hash(t, "secret"))
	var reported []error
	g, err := New(path, func(err error) { reported = append(reported, err) })
	if err != nil {
		t.Fatal(err)
	}
	return g, path, &reported
}

func TestGuard(t *testing.T) {
	g, _, _ := guard(t)
	now := time.Unix(1000, 0)
	right := basic("ali:secret")
	g.Cached(right, now) // looks at the file
	if _, known := g.Cached(right, now); known {
		t.Error("known before it was verified")
	}
	if r := g.Verify(right, now); r != (Result{Allowed, "ali"}) {
		t.Errorf("%+v", r)
	}
	if allowed, known := g.Cached(right, now.Add(time.Second)); !allowed || !known {
		t.Error("not known after it was verified")
	}
	for _, wrong := range []string{"ali:Secret", "ali:", "bob:secret"} {
		for range 2 {
			if r := g.Verify(basic(wrong), now); r != (Result{}) {
				t.Errorf("%s: %+v", wrong, r)
			}
			if _, known := g.Cached(basic(wrong), now); known {
				t.Errorf("%s is remembered", wrong)
			}
		}
	}
	// not for ever
	late := now.Add(rememberFor)
	g.Cached(right, late)
	if _, known := g.Cached(right, late); known {
		t.Error("known for ever")
	}
}

// A change of the file is noticed, and what it takes away is gone.
func TestFileChanges(t *testing.T) {
	g, path, reported := guard(t)
	now := time.Unix(1000, 0)
	ali, bob := basic("ali:secret"), basic("bob:hidden")
	check := func(what string, ali, bob []byte, a, b Verdict) {
		t.Helper()
		now = now.Add(lookEvery + 1)
		for _, c := range []struct {
			header []byte
			want   Verdict
		}{{ali, a}, {bob, b}} {
			if allowed, known := g.Cached(c.header, now); known && allowed && c.want != Allowed {
				t.Errorf("%s: %s is known", what, c.header)
			}
			if r := g.Verify(c.header, now); r.Verdict != c.want {
				t.Errorf("%s: %s: %+v", what, c.header, r)
			}
		}
	}
	check("at first", ali, bob, Allowed, Refused)
	h := hash(t, "secret")
	touch := func(lines ...string) {
		write(t, path, lines...)
		at := now.Add(time.Duration(len(lines)) * time.Hour)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	touch("ali:"+h, "bob:"+hash(t, "hidden"))
	check("bob came", ali, bob, Allowed, Allowed)
	touch("ali:" + hash(t, "changed"))
	check("bob went and ali's password changed", ali, bob, Refused, Refused)
	touch("ali:"+h, "bob:nonsense", "")
	check("a broken file", basic("ali:changed"), bob, Allowed, Refused)
	if len(*reported) != 1 || !strings.Contains((*reported)[0].Error(), `users:2: the hash of "bob" is not bcrypt`) {
		t.Errorf("reported: %v", *reported)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("no file", basic("ali:changed"), bob, Allowed, Refused)
	if len(*reported) != 2 {
		t.Errorf("reported: %v", *reported)
	}
	touch("ali:"+h, "bob:"+hash(t, "hidden"))
	check("it is back", ali, bob, Allowed, Allowed)
}

// Many who ask at once for the same thing cost one hash; many who ask for
// different things wait, and not without bound.
func TestManyAtOnce(t *testing.T) {
	g, _, _ := guard(t)
	now := time.Unix(1000, 0)
	for range cap(g.slots) {
		g.slots <- struct{}{} // somebody hashes, and takes his time
	}
	var wg sync.WaitGroup
	results := make(chan Result, maxWaiting+50)
	for range maxWaiting + 50 {
		wg.Go(func() { results <- g.Verify(basic("ali:secret"), now) })
	}
	busy := 0
	for range 50 {
		if r := <-results; r.Verdict == Busy {
			busy++
		}
	}
	if busy != 50 {
		t.Errorf("%d were sent away, want 50", busy)
	}
	for range cap(g.slots) {
		<-g.slots
	}
	wg.Wait()
	close(results)
	for r := range results {
		if r.Verdict != Allowed {
			t.Errorf("%+v", r)
		}
	}
	if n := g.waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// What is remembered is bounded.
func TestRememberedIsBounded(t *testing.T) {
	g, _, _ := guard(t)
	now := time.Unix(1000, 0)
	p := proof{"ali", g.state.Load().users.hashes["ali"], now.Add(time.Minute)}
	known := make(map[[32]byte]proof)
	for i := range maxKnown * 2 {
		known[[32]byte{byte(i), byte(i >> 8)}] = p
	}
	g.state.Store(&state{users: g.state.Load().users, known: known})
	g.remember(basic("ali:secret"), p, now)
	if n := len(g.state.Load().known); n > maxKnown {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := g.recall(basic("ali:secret"), now); !ok {
		t.Error("the newest is not")
	}
}

func TestCachedDoesNotAllocate(t *testing.T) {
	g, _, _ := guard(t)
	now := time.Unix(1000, 0)
	right := basic("ali:secret")
	g.Verify(right, now)
	g.Cached(right, now)
	if n := testing.AllocsPerRun(100, func() {
		if allowed, _ := g.Cached(right, now); !allowed {
			t.Error("not known")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// nor is a password kept
	for key := range g.state.Load().known {
		if bytes.Contains(key[:], []byte("secret")) {
			t.Error("a password is in memory")
		}
	}
}
