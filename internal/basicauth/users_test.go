package basicauth

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// A hash of "U*U" that another implementation made (Openwall's crypt_blowfish).
const foreign = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

// hashOf makes the cheapest hash that there is, as htpasswd writes it.
func hashOf(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), minCost)
	if err != nil {
		t.Fatal(err)
	}
	return "$2y$" + string(h[4:])
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.htpasswd")
	b := strings.Replace(foreign, "$2a$", "$2b$", 1)
	y := strings.Replace(foreign, "$2a$", "$2y$", 1)
	write(t, path, "# who may come in\n\nalice:"+foreign+"\r\n  bob:"+b+"  \n\n#eve:"+y+"\njosé maria:"+y)
	users, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if users.Len() != 3 {
		t.Errorf("%d users, want 3", users.Len())
	}
	for _, name := range []string{"alice", "bob", "josé maria"} {
		u := users.find([]byte(name))
		if u.name != name || bcrypt.CompareHashAndPassword(u.hash, []byte("U*U")) != nil {
			t.Errorf("%s: found %q, and the password is wrong", name, u.name)
		}
	}
	if u := users.find([]byte("eve")); u != users.nobody || u.name != "" {
		t.Errorf("eve was found: %+v", u)
	}
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.htpasswd")
	f := func(content string, want ...string) {
		t.Helper()
		write(t, path, content)
		_, err := Load(path)
		if err == nil {
			t.Errorf("%q was accepted", content)
			return
		}
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "FILE", path)
		}
		if got := err.Error(); got != strings.Join(want, "\n") {
			t.Errorf("%q:\n%s\nwant:\n%s", content, got, strings.Join(want, "\n"))
		}
		for _, secret := range []string{"Tr0ub4dor", "$2", "CCCC", "apr1"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q: shows %q", content, err)
			}
		}
	}
	// nobody
	f("", "FILE: no users; add one with htpasswd -B FILE NAME")
	f("\n# nobody yet\n", "FILE: no users; add one with htpasswd -B FILE NAME")

	// no line of such a file
	f("Tr0ub4dor", "FILE:1: want name:hash, as htpasswd -B writes it")
	f(":"+foreign, "FILE:1: want name:hash, as htpasswd -B writes it")
	f(foreign+":alice", "FILE:1: want name:hash, as htpasswd -B writes it")
	f("a\tb:"+foreign, "FILE:1: the name is longer than 255 bytes or has control characters")
	f(strings.Repeat("n", 256)+":"+foreign, "FILE:1: the name is longer than 255 bytes or has control characters")

	// other kinds of hash, and a password
	notBcrypt := `FILE:3: the hash of "bob" is not bcrypt; make it with htpasswd -B`
	for _, hash := range []string{
		"", "Tr0ub4dor", "$apr1$Tr0ub4do$wCHFCvfV0S9qzIZLNNfIm.", "{SHA}Tr0ub4dor=", "$2x" + foreign[3:], "$1a" + foreign[3:], "$2$05$Tr0ub4dor",
	} {
		f("alice:"+foreign+"\n\nbob:"+hash, notBcrypt)
	}

	// bcrypt, but
	damaged := `FILE:1: the hash of "bob" is damaged: bcrypt's has 60 characters; make it again with htpasswd -B`
	f("bob:"+foreign[:59], damaged)
	f("bob:"+foreign+"e", damaged)
	f("bob:"+foreign+":Bob", damaged)
	f("bob:"+strings.Replace(foreign, "CCC", "C!C", 1), damaged)
	f("bob:"+strings.Replace(foreign, "05$", "5$C", 1), damaged)
	f("bob:"+strings.Replace(foreign, "05$", "+5$", 1), damaged)
	cost := `FILE:1: the hash of "bob" has cost %d, want 4 to 16; make it again with htpasswd -B -C 10`
	f("bob:"+strings.Replace(foreign, "05", "03", 1), fmt.Sprintf(cost, 3))
	f("bob:"+strings.Replace(foreign, "05", "17", 1), fmt.Sprintf(cost, 17))
	f("bob:"+strings.Replace(foreign, "05", "99", 1), fmt.Sprintf(cost, 99))

	// all that is wrong is told at once, within reason
	f("bob:"+foreign+"\nbob:Tr0ub4dor\nbob:"+foreign,
		`FILE:2: the hash of "bob" is not bcrypt; make it with htpasswd -B`,
		`FILE:3: "bob" is already on line 1; remove one of the two`)
	var want []string
	for i := range maxProblems {
		want = append(want, fmt.Sprintf("FILE:%d: want name:hash, as htpasswd -B writes it", i+1))
	}
	f(strings.Repeat("Tr0ub4dor\n", maxProblems+7), append(want, "FILE: and 7 more lines")...)
	f(strings.Repeat("#", maxFile+1), "FILE: larger than 1 MiB: is this a file of users?")
}

func TestLoadNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil || err.Error() != dir+": not a regular file" {
		t.Errorf("a directory: %v", err)
	}
}

// The costliest of the file is what an unknown name costs.
func TestNobody(t *testing.T) {
	costlier := strings.Replace(foreign, "05", "07", 1)
	users, err := parse("f", []byte("a:"+foreign+"\nb:"+costlier+"\nc:"+foreign))
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(users.nobody.hash); cost != 7 || err != nil {
		t.Errorf("cost %d, %v, want 7", cost, err)
	}
	if !isComplete(users.nobody.hash) {
		t.Errorf("%s is not a hash", users.nobody.hash)
	}
	if err := bcrypt.CompareHashAndPassword(users.nobody.hash, []byte("U*U")); err != bcrypt.ErrMismatchedHashAndPassword {
		t.Errorf("comparing: %v, want that it is not the password", err)
	}
}

// Whatever is accepted can be hashed against, and was there.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte("alice:" + foreign + "\n# x\n\nbob:" + foreign))
	f.Add([]byte("alice:" + foreign[:40] + "\r\n:\n::"))
	f.Add([]byte(foreign[29:] + ":alice"))
	f.Fuzz(func(t *testing.T, data []byte) {
		users, err := parse("file", data)
		if err != nil {
			// A name may be shown, even one that looks like the end of a hash.
			shown := err.Error()
			for line := range strings.Lines(string(data)) {
				if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
					shown = strings.ReplaceAll(shown, strconv.Quote(name), "")
				}
			}
			if strings.Contains(shown, foreign[30:]) {
				t.Fatalf("shows a hash: %v", err)
			}
			return
		}
		if users.Len() == 0 {
			t.Fatal("nobody is in the file")
		}
		for name, u := range users.byName {
			cost, err := bcrypt.Cost(u.hash)
			if err != nil || cost < minCost || cost > maxCost || len(u.hash) != hashLen {
				t.Fatalf("%q has %q, cost %d: %v", name, u.hash, cost, err)
			}
			if name != u.name || !strings.Contains(string(data), name+":"+string(u.hash)) {
				t.Fatalf("%q is not in the file", name)
			}
		}
	})
}
