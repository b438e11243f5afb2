package main

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/internal/control"
	"weir/internal/testkit"
)

// serving is a weir process with one request in flight, whose backend answers
// when release is closed.
type serving struct {
	*child
	admin   string
	file    string
	client  *testkit.Client
	release chan struct{}
}

func newServing(t *testing.T, args ...string) *serving {
	t.Helper()
	s := &serving{release: make(chan struct{})}
	asked := make(chan struct{}, 8)
	b := testkit.NewBackend(t, func(x *testkit.Exchange) bool {
		asked <- struct{}{}
		<-s.release
		return testkit.Named("done")(x)
	})
	dir := t.TempDir()
	s.file, s.admin = filepath.Join(dir, "weir.yaml"), "unix:"+filepath.Join(dir, "a.sock")
	write(t, s.file, yaml(dir, oneBackend(b.Addr(), "")))
	s.child = process(t, dir, append([]string{"run"}, args...)...) // finds ./weir.yaml
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.log.await(t, `"configuration runs"`)
	var st control.Status
	weir(t, "status", "--admin", s.admin, "--json").want(t, 0).decode(t, &st)
	s.client = testkit.Dial(t, st.Traffic.Listeners[0].Address)
	s.client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	return s
}

func (s *serving) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// SIGTERM: not ready, no new connections, what runs is finished, exit code 0.
func TestSigtermDrains(t *testing.T) {
	s := newServing(t)
	address := s.client.Conn.RemoteAddr().String()
	s.signal(t, syscall.SIGTERM)
	s.log.await(t, "told to leave")

	if status, _ := over(t, s.admin, "/livez"); status != 200 {
		t.Errorf("/livez while draining: %d, want 200", status)
	}
	for { // until the listener is closed, which follows
		if status, _ := over(t, s.admin, "/readyz"); status == 503 {
			break
		}
	}
	weir(t, "status", "--admin", s.admin).want(t, 1, "not ready")
	close(s.release)
	if reply := s.client.Read("GET"); reply.Status != 200 || reply.Body != "done" {
		t.Errorf("the request that ran got %v", reply)
	}
	if code := s.code(t); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, s.log)
	}
	if strings.Count(s.out.String(), `"status":200`) != 1 {
		t.Errorf("the access log was not written out: %q", s.out)
	}
	weir(t, "status", "--admin", s.admin).want(t, 3)
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("the listener is still open")
	}
}

// A second signal does not wait for anybody.
func TestSecondSignalLeavesAtOnce(t *testing.T) {
	s := newServing(t)
	defer close(s.release)
	s.signal(t, syscall.SIGTERM)
	s.log.await(t, "told to leave")
	s.signal(t, syscall.SIGINT)
	if code := s.code(t); code != 1 {
		t.Errorf("exit code %d, want 1\n%s", code, s.log)
	}
	if !strings.Contains(s.log.String(), "leaving at once") {
		t.Errorf("it does not say so:\n%s", s.log)
	}
}

// Requests that do not end do not keep Weir for ever.
func TestGraceEnds(t *testing.T) {
	s := newServing(t, "--grace", "100ms")
	defer close(s.release)
	s.signal(t, syscall.SIGTERM)
	if code := s.code(t); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, s.log)
	}
	if !strings.Contains(s.log.String(), "the grace period is over") {
		t.Errorf("it does not say that requests were cut off:\n%s", s.log)
	}
}

// SIGHUP reads the file again, and ends nothing.
func TestSighupReloads(t *testing.T) {
	s := newServing(t)
	defer close(s.release)
	write(t, s.file, "pols: {}\n")
	s.signal(t, syscall.SIGHUP)
	s.log.await(t, `"configuration rejected`)
	weir(t, "status", "--admin", s.admin).want(t, 0, "version 1", "pols")
}

// Killed in the middle of its work, it starts again: over its own socket file
// and with its history.
func TestKilledAndStartedAgain(t *testing.T) {
	s := newServing(t)
	defer close(s.release)
	s.signal(t, syscall.SIGKILL)
	if code := s.code(t); code != -1 {
		t.Fatalf("exit code %d", code)
	}
	again := process(t, filepath.Dir(s.file), "run", "--grace", "100ms")
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	again.log.await(t, `"configuration runs"`)
	weir(t, "status", "--admin", s.admin).want(t, 0, "version 1", "in_sync")
}

// The exit codes as a shell sees them.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad.yaml"), "pols: {}\n")
	f := func(code int, text string, args ...string) {
		t.Helper()
		c := process(t, dir, args...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if got := c.code(t); got != code || !strings.Contains(c.out.String()+c.log.String(), text) {
			t.Errorf("%v: exit code %d, want %d and %q in\n%s%s", args, got, code, text, c.out, c.log)
		}
	}
	f(0, "weir", "version")
	f(1, "bad.yaml:1:1", "check", "bad.yaml")
	f(1, "neither weir.yaml nor /etc/weir/weir.yaml", "run")
	f(3, "no Weir at", "status", "--admin", "unix:"+filepath.Join(dir, "none.sock"))

	w := start(t, oneBackend("127.0.0.1:1", ""))
	write(t, w.file, yaml(w.dir, oneBackend("127.0.0.1:1", ", weight: 2")))
	w.do(t, "apply", w.file).want(t, 0)
	f(2, "weight", "diff", "1", "2", "--admin", w.admin)
}
