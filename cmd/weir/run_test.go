package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit"
)

// over asks the admin API behind a unix socket.
func over(t *testing.T, address, path string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(address, "unix:"))
		},
	}}
	resp, err := client.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// Everything is wired: traffic, its record and its metric.
func TestRunServes(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Named("b"))
	w := start(t, oneBackend(b.Addr(), ""), "--loops", "1")
	if reply := testkit.Get(t, w.web(t), "/hello"); reply.Status != 200 || reply.Body != "b" {
		t.Fatalf("answer %v", reply)
	}
	if status, _ := over(t, w.admin, "/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	for _, want := range []string{
		`weir_requests_total{code="200",listener="web",route="all"} 1`, // counted after the answer
		"weir_config_version 1", `weir_backend_up{backend="` + b.Addr() + `",pool="api"} 1`,
	} {
		metrics := ""
		for end := time.Now().Add(10 * time.Second); !strings.Contains(metrics, want); {
			if time.Now().After(end) {
				t.Fatalf("/metrics is without %s:\n%s", want, metrics)
			}
			_, metrics = over(t, w.admin, "/metrics")
		}
	}
	if code := w.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	var record map[string]any
	if err := json.Unmarshal([]byte(w.access.String()), &record); err != nil {
		t.Fatalf("access log %q: %v", w.access, err)
	}
	if record["path"] != "/hello" || record["status"] != 200.0 || record["config_version"] != 1.0 || record["ts"] == nil {
		t.Errorf("record %v", record)
	}
	for line := range strings.Lines(w.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if _, err := os.Stat(strings.TrimPrefix(w.admin, "unix:")); err == nil {
		t.Error("the admin socket is left behind")
	}
}

// The admin API answers while backends' first probes are still out.
func TestLiveBeforeReady(t *testing.T) {
	asked, answer := make(chan struct{}, 8), make(chan struct{})
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		asked <- struct{}{}
		<-answer
		return testkit.Named("b")(x)
	})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "weir.yaml"), yaml(dir,
		"  api: {backends: [{address: '"+b.Addr()+"'}], health: {active: {type: http, path: /, interval: 60s, timeout: 30s}}}\n"))
	log := newLogText()
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan int, 1)
	go func() {
		left <- execute(ctx, []string{"run", "-c", filepath.Join(dir, "weir.yaml")}, nil, io.Discard, log)
	}()
	<-asked // a probe is out: Start waits for it
	admin := "unix:" + filepath.Join(dir, "a.sock")
	if status, _ := over(t, admin, "/livez"); status != 200 {
		t.Errorf("/livez: %d, want 200", status)
	}
	if status, _ := over(t, admin, "/readyz"); status != 503 {
		t.Errorf("/readyz: %d, want 503", status)
	}
	weir(t, "status", "--admin", admin).want(t, 1, "no configuration runs yet")
	close(answer)
	log.await(t, `"configuration runs"`)
	weir(t, "status", "--admin", admin).want(t, 0, "ready")
	cancel()
	<-left
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "weir.yaml")
	run := func(args ...string) result {
		t.Helper()
		return weir(t, append([]string{"run", "-c", file}, args...)...)
	}
	run().want(t, 1, file, "nothing to run")
	write(t, file, "pols: {}\n")
	run().want(t, 1, "nothing to run", "pols")

	// addresses that are taken, each named
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	text := yaml(dir, oneBackend("127.0.0.1:1", ""))
	write(t, file, strings.Replace(text, "127.0.0.1:0", taken, 1))
	run().want(t, 1, taken, "web")
	write(t, file, strings.Replace(text, "unix:"+filepath.Join(dir, "a.sock"), taken, 1))
	run().want(t, 1, "admin API", taken, "another Weir")
	write(t, file, strings.Replace(text, "admin: {", "admin: {token_file: none, ", 1))
	run().want(t, 1, "token", filepath.Join(dir, "none"))
	write(t, filepath.Join(dir, "none"), "\n")
	run().want(t, 1, "is empty")
}

// A broken file does not keep Weir from starting, unless that is wanted.
func TestRunWithABrokenFile(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", ""))
	if code := w.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	text, _ := os.ReadFile(w.file)
	write(t, w.file, string(text)+"pols: {}\n")
	weir(t, "run", "-c", w.file, "--strict").want(t, 1, "strict", "pols")

	log := newLogText()
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan int, 1)
	go func() { left <- execute(ctx, []string{"run", "-c", w.file}, nil, io.Discard, log) }()
	log.await(t, `"admin API answers"`) // where the version that runs says
	w.do(t, "status").want(t, 0, "version 1", "rejected", "pols")
	cancel()
	if code := <-left; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestFindConfig(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	if _, err := findConfig("", a, b); err == nil || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) {
		t.Errorf("neither is there: %v, want both named", err)
	}
	f := func(named, want string) {
		t.Helper()
		if got, err := findConfig(named, a, b); got != want || err != nil {
			t.Errorf("found %s (%v), want %s", got, err, want)
		}
	}
	f(filepath.Join(dir, "none.yaml"), filepath.Join(dir, "none.yaml")) // named is named
	write(t, b, "")
	f("", b)
	write(t, a, "")
	f("", a)
}

// The token is read at each use: a new one counts at once.
func TestTokenIsReplaced(t *testing.T) {
	testkit.NoLeaks(t)
	dir := t.TempDir()
	file, token := filepath.Join(dir, "weir.yaml"), filepath.Join(dir, "token")
	write(t, file, strings.Replace(yaml(dir, oneBackend("127.0.0.1:1", "")), "admin: {", "admin: {token_file: token, ", 1))
	write(t, token, "one\n")
	log := newLogText()
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan int, 1)
	go func() { left <- execute(ctx, []string{"run", "-c", file}, nil, io.Discard, log) }()
	defer func() { cancel(); <-left }()
	log.await(t, `"configuration runs"`)

	write(t, filepath.Join(dir, "old"), "one\n")
	admin := "unix:" + filepath.Join(dir, "a.sock")
	weir(t, "show", "--admin", admin).want(t, 1, "needs the token")
	weir(t, "show", "-c", file).want(t, 0, "listeners")
	write(t, token, "two\n")
	weir(t, "show", "-c", file).want(t, 0, "listeners")
	weir(t, "show", "--admin", admin, "--token-file", filepath.Join(dir, "old")).want(t, 1, "token is wrong")
	weir(t, "status", "--admin", admin).want(t, 0, "ready") // needs none
}

// Go raises the limit of open files at its start; a proxy depends on it.
func TestOpenFilesLimit(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max > 1<<30 {
		t.Skip("there is no hard limit to raise it to")
	}
	if limit.Cur != limit.Max {
		t.Errorf("limit of open files is %d, want the hard one, %d", limit.Cur, limit.Max)
	}
}
