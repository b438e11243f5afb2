package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhereACommandLooks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "weir.yaml")
	write(t, file, "admin: {address: '127.0.0.1:1003'}\n")
	f := func(flags adminFlags, env, address, source string) {
		t.Helper()
		t.Setenv("WEIR_ADMIN", env)
		c, err := flags.client()
		if err != nil {
			t.Fatal(err)
		}
		if c.address != address || !strings.Contains(c.source, source) {
			t.Errorf("looks at %s (%s), want %s (%s)", c.address, c.source, address, source)
		}
	}
	f(adminFlags{address: "127.0.0.1:1001", config: file}, "127.0.0.1:1002", "127.0.0.1:1001", "--admin")
	f(adminFlags{config: file}, "127.0.0.1:1002", "127.0.0.1:1003", file)
	f(adminFlags{}, "127.0.0.1:1002", "127.0.0.1:1002", "$WEIR_ADMIN")
	f(adminFlags{}, "", "127.0.0.1:9900", "default")

	weir(t, "status", "-c", filepath.Join(dir, "none.yaml")).want(t, 1, "none.yaml")
}

// Right after a broken edit is when somebody asks the running Weir about it.
func TestAdminBlockOfABrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	f := func(text, address, token string) {
		t.Helper()
		write(t, path, text)
		got, err := readAdminBlock(path)
		if err != nil || got.Address != address || got.TokenFile != token {
			t.Errorf("%q: %+v (%v), want %s and %s", text, got, err, address, token)
		}
	}
	beside := filepath.Join(filepath.Dir(path), "token")
	f("admin: {address: '127.0.0.1:7'}\npols: {}\n", "127.0.0.1:7", "")
	f("pols: {}\nadmin:\n  # where\n  address: 127.0.0.1:7\n\n  token_file: token\nlisteners: [", "127.0.0.1:7", beside)
	f("admin:\n  address: 127.0.0.1:7\n  token_file: /etc/token\npools:\n\tbroken", "127.0.0.1:7", "/etc/token")
	f("admin: {\n  address: '127.0.0.1:7'\n}\nnonsense", "127.0.0.1:7", "")
	f("pols: {}\n", "127.0.0.1:9900", "") // no block: the default

	// a block that is itself wrong cannot be guessed
	write(t, path, "admin: {adress: '127.0.0.1:7'}\n")
	if _, err := readAdminBlock(path); err == nil || !strings.Contains(err.Error(), "--admin") {
		t.Errorf("error %v, want what to do instead", err)
	}
}

func TestNoWeirThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	_ = ln.Close()
	for _, args := range [][]string{
		{"status"}, {"history"}, {"show", "1"}, {"diff", "1", "2"}, {"rollback"}, {"unpin"},
		{"drain", "api/1.2.3.4:5"}, {"maintain", "api/1.2.3.4:5"}, {"ready", "api/1.2.3.4:5"},
	} {
		weir(t, append(args, "--admin", free)...).want(t, 3, "no Weir at "+free+" (--admin)", "connection refused")
	}
	socket := "unix:" + filepath.Join(t.TempDir(), "none.sock")
	weir(t, "status", "--admin", socket).want(t, 3, socket, "no such file")
	t.Setenv("WEIR_ADMIN", free)
	weir(t, "status").want(t, 3, free, "$WEIR_ADMIN")

	// something answers, and is not Weir
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	weir(t, "status", "--admin", strings.TrimPrefix(other.URL, "http://")).want(t, 3, "not Weir's admin API")
}

func TestDialable(t *testing.T) {
	for address, want := range map[string]string{
		":9900": "127.0.0.1:9900", "0.0.0.0:9900": "127.0.0.1:9900", "[::]:9900": "[::1]:9900",
		"10.0.0.1:9900": "10.0.0.1:9900", "weir.example:80": "weir.example:80",
	} {
		if got := dialable(address); got != want {
			t.Errorf("%s is dialed as %s, want %s", address, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	good, other := filepath.Join(dir, "good"), filepath.Join(dir, "other")
	write(t, good, "s3cret\n")
	write(t, other, "wrong\n")
	write(t, filepath.Join(dir, "empty"), " \n")
	write(t, filepath.Join(dir, "words"), "two words\n")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := ""
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		w.Header().Set("Server", "weir")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(401)
		_, _ = w.Write([]byte(`{"title":"Token required","status":401,"detail":"this needs the token"}`))
	})}}
	server.Start()
	defer server.Close()
	config := filepath.Join(dir, "weir.yaml")
	write(t, config, "admin: {address: '"+ln.Addr().String()+"', token_file: good}\n")

	f := func(env, want string, args ...string) {
		t.Helper()
		t.Setenv("WEIR_TOKEN_FILE", env)
		weir(t, append([]string{"unpin", "--admin", ln.Addr().String()}, args...)...).want(t, 1, "this needs the token; give --token-file")
		if seen != want {
			t.Errorf("%v sent %q, want %q", args, seen, want)
		}
	}
	f("", "")
	f("", "Bearer s3cret", "--token-file", good)
	f(other, "Bearer wrong")
	f(other, "Bearer s3cret", "--token-file", good)
	f("", "Bearer s3cret", "-c", config)
	f(other, "Bearer wrong", "-c", config)

	// the configuration's file that is not for us does not stop a question
	if err := os.Remove(good); err != nil {
		t.Fatal(err)
	}
	f("", "", "-c", config)

	for name, want := range map[string]string{"none": "no such file", "empty": "is empty", "words": "one token"} {
		weir(t, "unpin", "--token-file", filepath.Join(dir, name)).want(t, 1, want)
	}
}
