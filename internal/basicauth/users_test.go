package basicauth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// hash is a bcrypt hash of the least cost.
func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// write makes a file of these lines.
func write(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	h := hash(t, "secret")
	write(t, path, "# who may", "", "ali:"+h, "  bob:"+strings.Replace(h, "$2a$", "$2y$", 1)+"  ", "\u00e9ve:"+h, "")
	u, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ali", "bob", "\u00e9ve"} {
		if !u.verify(name, []byte("secret")) || u.verify(name, []byte("Secret")) || u.verify(name, nil) {
			t.Errorf("%s", name)
		}
	}
	if u.verify("carl", []byte("secret")) || u.verify("", []byte("secret")) {
		t.Error("somebody else was let in")
	}
	if cost, err := bcrypt.Cost(u.dummy); err != nil || cost != bcrypt.MinCost || len(u.dummy) != hashLen {
		t.Errorf("who is not there is compared with a hash of cost %d, %d bytes: %v", cost, len(u.dummy), err)
	}

	f := func(want string, lines ...string) {
		t.Helper()
		write(t, path, lines...)
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+":") {
			t.Errorf("%q: %v, want %q", lines, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "$2") {
			t.Errorf("a hash is in the error: %v", err)
		}
	}
	f("there is no user")
	f("there is no user", "# nobody", "")
	f(`:2: a line is name:hash`, "ali:"+h, "bob")
	f(`:1: a line is name:hash`, ":"+h)
	f(`:3: "ali" is there twice`, "ali:"+h, "", "ali:"+h)
	f(`:1: the hash of "ali" is not bcrypt`, "ali:$apr1$WtyZ4Uw3$rP1AVrZFE0Q8qFdK8XgBV/")
	f(`:1: the hash of "ali" is not bcrypt`, "ali:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")
	f(`:1: the hash of "ali" is not bcrypt`, "ali:plain")
	f(`:1: the hash of "ali" is not bcrypt`, "ali:"+h[:50])
	f(`:1: the hash of "ali" is not bcrypt`, "ali:"+h+":more")
	f(`has cost 20`, "ali:"+strings.Replace(h, "$04$", "$20$", 1))
	f("is this the right file", strings.Repeat("#", maxFile+1))
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// Whatever a file holds, it is read or refused, and what is read is as it says.
func FuzzUsers(f *testing.F) {
	h := hash(f, "x")
	f.Add("ali:" + h + "\n# c\nbob:" + h)
	f.Add("ali:" + h[:59])
	f.Add(":\n::\n")
	f.Fuzz(func(t *testing.T, src string) {
		u, err := parse([]byte(src))
		if err != nil {
			return
		}
		for name, hash := range u.hashes {
			cost, err := bcrypt.Cost([]byte(hash))
			if err != nil || cost < minCost || cost > maxCost || !strings.Contains(src, name+":"+hash) || strings.Contains(name, ":") {
				t.Fatalf("%q: %q has %q", src, name, hash)
			}
		}
	})
}
