//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testkit"
)

// upgradeStep is a line of weir upgrade --json.
type upgradeStep struct {
	Step, Build, Message string
	PID                  int
	TookMS               float64 `json:"took_ms"`
}

// installed is start with a binary of its own, which can be replaced.
func installed(t *testing.T, yaml string, args ...string) *weir {
	t.Helper()
	// Processes whose parent was replaced are ours to wait for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	w := install(t, yaml)
	w.program = filepath.Join(w.dir, "weir")
	w.replace(binary)
	w.run(args...)
	w.awaitReady()
	return w
}

// replace puts a copy of a file in the place of the program.
func (w *weir) replace(with string) {
	w.t.Helper()
	b, err := os.ReadFile(with)
	if err != nil {
		w.t.Fatal(err)
	}
	w.replaceText(string(b))
}

func (w *weir) replaceText(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.program+".new", []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.program+".new", w.program); err != nil {
		w.t.Fatal(err)
	}
}

// upgrade runs weir upgrade and returns its exit code and steps.
func (w *weir) upgrade(args ...string) (code int, steps []upgradeStep) {
	w.t.Helper()
	code, out, errs := w.cli(append([]string{"upgrade", "--json"}, args...)...)
	for line := range strings.Lines(out) {
		var s upgradeStep
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			w.t.Fatalf("%v in %s", err, line)
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		w.t.Fatalf("weir upgrade: exit code %d, %s", code, errs)
	}
	return code, steps
}

// follow waits for the end of the old process, and makes pid the one to kill.
func (w *weir) follow(pid int) {
	w.t.Helper()
	w.awaitExit(45 * time.Second)
	p, err := os.FindProcess(pid)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cmd = &exec.Cmd{Process: p}
	exited := make(chan error, 1)
	w.exited = exited
	go func() {
		state, err := p.Wait()
		switch {
		case errors.Is(err, syscall.ECHILD): // it ended before its parent, which knows how
			err = nil
		case err == nil && !state.Success():
			err = fmt.Errorf("%v", state)
		}
		exited <- err
	}()
}

// crowd is clients that count every request which did not get its answer.
type crowd struct {
	address  string
	end      chan struct{}
	clients  sync.WaitGroup
	requests atomic.Int64
	dials    atomic.Int64
	mu       sync.Mutex // guards failures
	failures []string
}

// gather starts clients: busy ones ask on one connection as fast as they are
// answered, lazy ones with pauses in which their connection is at rest, new ones
// on a connection each.
func gather(address string, busy, lazy, fresh int) *crowd {
	c := &crowd{address: address, end: make(chan struct{})}
	for range busy {
		c.clients.Go(func() { c.ask("busy", 0, true) })
	}
	for range lazy {
		c.clients.Go(func() { c.ask("lazy", 3*time.Second, true) })
	}
	for range fresh {
		c.clients.Go(func() { c.ask("new", 10*time.Millisecond, false) })
	}
	return c
}

// ask is one client. It reconnects only when it was told that its connection
// ends: whatever else happens to one is a failure.
func (c *crowd) ask(who string, pause time.Duration, keep bool) {
	var conn net.Conn
	var r *bufio.Reader
	request := "GET / HTTP/1.1\r\nHost: test\r\n\r\n"
	if !keep {
		request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
	}
	for {
		if pause > 0 {
			select {
			case <-c.end:
			case <-time.After(time.Duration(rand.Int64N(int64(pause)))):
			}
		}
		select {
		case <-c.end:
			if conn != nil {
				_ = conn.Close()
			}
			return
		default:
		}
		var err error
		if conn == nil {
			c.dials.Add(1)
			if conn, err = net.DialTimeout("tcp", c.address, 5*time.Second); err != nil {
				c.fail(who+": connect", err)
				conn = nil
				continue
			}
			r = bufio.NewReader(conn)
		}
		closes, err := c.once(conn, r, request)
		c.requests.Add(1)
		if err != nil {
			c.fail(who, err)
		}
		if closes || err != nil {
			_ = conn.Close()
			conn = nil
		}
	}
}

func (c *crowd) once(conn net.Conn, r *bufio.Reader, request string) (closes bool, err error) {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return true, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return true, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || string(body) != "ok") {
		err = fmt.Errorf("%d %q", resp.StatusCode, body)
	}
	return resp.Close, err
}

func (c *crowd) fail(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, fmt.Sprintf("%s: %v", what, err))
}

// disperse ends the load and checks that nobody was let down.
func (c *crowd) disperse(t *testing.T) {
	t.Helper()
	close(c.end)
	c.clients.Wait()
	t.Logf("%d requests on %d connections, %d failed", c.requests.Load(), c.dials.Load(), len(c.failures))
	if len(c.failures) > 0 {
		t.Errorf("%d of %d requests failed, such as %q", len(c.failures), c.requests.Load(), c.failures[:min(5, len(c.failures))])
	}
}

// passed waits until n more requests were answered.
func (c *crowd) passed(t *testing.T, n int64) {
	t.Helper()
	from := c.requests.Load()
	eventually(t, 20*time.Second, "requests are answered", func() bool { return c.requests.Load() >= from+n })
}

// Upgrades under load: no request fails and no connection is reset. 20 of them
// with WEIR_UPGRADES=20.
func TestUpgradeUnderLoad(t *testing.T) {
	times := 3
	if n, err := strconv.Atoi(os.Getenv("WEIR_UPGRADES")); err == nil {
		times = n
	}
	backend := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := installed(t, simple(backend.Addr()), "--grace", "10s")
	load := gather(w.listen, 8, 200, 4)
	for range times {
		load.passed(t, 500)
		code, steps := w.upgrade("--probation", "300ms", "--wait")
		last := steps[len(steps)-1]
		if code != 0 || last.Step != "done" {
			t.Fatalf("exit code %d, %+v", code, steps)
		}
		if last.PID == w.cmd.Process.Pid {
			t.Fatal("it is the same process")
		}
		w.follow(last.PID)
		t.Logf("served after %.0f ms", steps[1].TookMS)
	}
	load.passed(t, 500)
	load.disperse(t)
	w.terminate()
	if _, err := os.Stat(filepath.Join(w.dir, "admin.sock")); err == nil {
		t.Error("the last one leaves its socket file behind")
	}
}

// A program that is no Weir, or a broken one: the old process goes on, nobody
// notices, and the configuration can be changed again.
func TestUpgradeFails(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	yaml := simple(backend.Addr())
	w := installed(t, yaml)
	load := gather(w.listen, 2, 20, 2)
	f := func(program, want string, args ...string) {
		t.Helper()
		if program == "" {
			_ = os.Remove(w.program)
		} else {
			w.replaceText(program)
		}
		code, steps := w.upgrade(args...)
		last := steps[len(steps)-1]
		if code != 1 || last.Step != "failed" || !strings.Contains(last.Message, want) {
			t.Errorf("%q: exit code %d, %+v; want %q", program, code, steps, want)
		}
		load.passed(t, 100)
	}
	f("#!/bin/sh\nexit 3\n", "exit status 3")
	f("#!/bin/sh\nkill -9 $$\n", "signal: killed")
	f("this is no program", "exec format error")
	f("", "no such file")

	// While it is not decided, changes are refused: two would write one history.
	refused := make(chan string, 1)
	go func() {
		for {
			code, answer, err := w.call("PUT", "/v1/config", w.fill(strings.Replace(yaml, "name: all", "name: other", 1)))
			if err != nil || code != 200 {
				refused <- fmt.Sprint(code, " ", string(answer), " ", err)
				return
			}
		}
	}()
	f("#!/bin/sh\nexec sleep 60\n", "did not serve within 1s", "--ready-timeout", "1s")
	if answer := <-refused; !strings.HasPrefix(answer, "503") || !strings.Contains(answer, "upgrade") {
		t.Errorf("a change meanwhile: %s", answer)
	}
	version := w.status().Version
	w.write(strings.Replace(yaml, "name: all", "name: edited", 1))
	w.awaitVersion(version)
	load.passed(t, 100)
	load.disperse(t)
}

// A new process that dies on probation: the old one comes back, with the changes
// that were made meanwhile, and can be replaced again.
func TestUpgradeRolledBack(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	yaml := simple(backend.Addr())
	w := installed(t, yaml)
	old := w.cmd.Process.Pid
	code, steps := w.upgrade()
	if code != 0 || steps[len(steps)-1].Step != "ready" {
		t.Fatalf("exit code %d, %+v", code, steps)
	}
	second := steps[len(steps)-1].PID
	if code, _, errs := w.cli("upgrade"); code != 1 || !strings.Contains(errs, "on probation") {
		t.Errorf("another upgrade on probation: exit code %d, %s", code, errs)
	}
	version := w.status().Version
	w.write(strings.Replace(yaml, "name: all", "name: edited", 1))
	now := w.awaitVersion(version)

	_ = syscall.Kill(second, syscall.SIGKILL)
	eventually(t, 10*time.Second, "the old one says so", func() bool { return strings.Contains(w.output(), "died on probation: signal: killed") })
	w.awaitReady()
	load := gather(w.listen, 2, 20, 2)
	load.passed(t, 200)
	if v := w.status().Version; v != now {
		t.Errorf("version %d runs, want %d", v, now)
	}
	w.write(yaml)
	w.awaitVersion(now)
	if w.cmd.Process.Pid != old {
		t.Fatal("it is another process")
	}
	code, steps = w.upgrade("--probation", "0s", "--wait")
	if code != 0 {
		t.Fatalf("exit code %d, %+v", code, steps)
	}
	w.follow(steps[len(steps)-1].PID)
	load.passed(t, 200)
	load.disperse(t)
	w.terminate()
}

// SIGUSR2. Who knows only the old process still reaches the new one with a
// SIGHUP; and a new one that is told to leave on probation is not missed.
func TestUpgradeBySignal(t *testing.T) {
	backend := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := installed(t, simple(backend.Addr()))
	said := func(text string) (line string) {
		t.Helper()
		eventually(t, 20*time.Second, "the log says "+text, func() bool {
			for line = range strings.Lines(w.output()) {
				if strings.Contains(line, text) {
					return true
				}
			}
			return false
		})
		return line
	}
	_ = w.cmd.Process.Signal(syscall.SIGUSR2)
	var served struct {
		Pid int `json:"new_pid"`
	}
	if err := json.Unmarshal([]byte(said("upgrade: the new process serves")), &served); err != nil {
		t.Fatal(err)
	}
	_ = w.cmd.Process.Signal(syscall.SIGHUP)
	said("configuration unchanged")
	_ = w.cmd.Process.Signal(syscall.SIGUSR2)
	said("an upgrade is under way")

	_ = syscall.Kill(served.Pid, syscall.SIGTERM)
	w.follow(served.Pid)
	w.awaitExit(20 * time.Second)
	if c, err := net.Dial("tcp", w.listen); err == nil {
		_ = c.Close()
		t.Error("somebody listens still")
	}
}

// systemd, played: sockets that are passed, and what it is told in return.
func TestServiceManager(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	backend := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := install(t, simple(backend.Addr()))
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(w.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	hear := func(want ...string) {
		t.Helper()
		b := make([]byte, 4096)
		_ = heard.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := heard.Read(b)
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		for _, line := range want {
			if !strings.Contains(string(b[:n])+"\n", line) {
				t.Errorf("heard %q, want %q", b[:n], line)
			}
		}
	}
	ln, err := net.Listen("tcp", w.listen)
	if err != nil {
		t.Fatal(err)
	}
	early := testkit.Dial(t, w.listen) // before anybody accepts
	early.Send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	w.program = filepath.Join(w.dir, "weir")
	w.replaceText("#!/bin/sh\nexport LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web\nexec '" + binary + "' \"$@\"\n")
	w.cmd = exec.Command(w.program, "run", "-c", w.config)
	w.cmd.ExtraFiles = []*os.File{f}
	w.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+heard.LocalAddr().String())
	out, err := os.Create(filepath.Join(w.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w.cmd.Stdout, w.cmd.Stderr = out, out
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	exited := make(chan error, 1)
	w.exited = exited
	go func(cmd *exec.Cmd) { exited <- cmd.Wait() }(w.cmd)

	hear("READY=1\n")
	if r := early.Read("GET"); r.Status != 200 || r.Body != "ok" {
		t.Errorf("the client that came before Weir got %v", r)
	}
	_ = w.cmd.Process.Signal(syscall.SIGHUP)
	hear("RELOADING=1\n", "MONOTONIC_USEC=")
	hear("READY=1\n")

	code, steps := w.upgrade("--probation", "200ms", "--wait")
	if code != 0 {
		t.Fatalf("exit code %d, %+v", code, steps)
	}
	pid := steps[len(steps)-1].PID
	hear(fmt.Sprintf("MAINPID=%d\n", pid)) // by the old one, before it is gone
	hear(fmt.Sprintf("MAINPID=%d\n", pid))
	hear("READY=1\n")
	if r := early.Get("/"); r.Status != 200 || r.Body != "ok" {
		t.Errorf("its connection, which was at rest, got %v", r)
	}
	w.follow(pid)
	_ = syscall.Kill(pid, syscall.SIGTERM)
	hear("STOPPING=1\n")
	w.awaitExit(20 * time.Second)
}
