//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is weir, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "weir")
	build := exec.Command("go", "build", "-o", binary, "weir/cmd/weir")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build weir: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// weir is one installation: a directory with a configuration and a history,
// and the process that runs it, if any.
type weir struct {
	t       *testing.T
	dir     string
	program string // path of the binary
	config  string // path
	listen  string // address of the listener that configurations call LISTEN
	cmd     *exec.Cmd
	exited  chan error
	admin   *http.Client
}

// install writes the configuration, in which LISTEN and ADMIN stand for
// addresses, without starting anything.
func install(t *testing.T, yaml string) *weir {
	t.Helper()
	// Not t.TempDir: its name can be too long for a socket.
	dir, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	w := &weir{t: t, dir: dir, program: binary, config: filepath.Join(dir, "weir.yaml"), listen: freeAddress(t)}
	w.admin = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
		},
	}}
	t.Cleanup(func() {
		w.kill()
		for _, bad := range []string{"DATA RACE", "panic", "fatal error"} { // the first where GOFLAGS=-race built it
			if strings.Contains(w.output(), bad) {
				t.Errorf("weir's output has %q:\n%s", bad, w.output())
			}
		}
		if t.Failed() {
			t.Logf("end of weir's output:\n%s", w.tail(40))
		}
		_ = os.RemoveAll(dir)
	})
	w.write(yaml)
	return w
}

// start installs, runs and waits until it is ready.
func start(t *testing.T, yaml string, args ...string) *weir {
	t.Helper()
	w := install(t, yaml)
	w.run(args...)
	w.awaitReady()
	return w
}

// fill puts the installation's addresses into yaml.
func (w *weir) fill(yaml string) string {
	return strings.NewReplacer("LISTEN", w.listen, "ADMIN", "unix:"+filepath.Join(w.dir, "admin.sock")).Replace(yaml)
}

// write replaces the configuration as editors do: a new file, renamed.
func (w *weir) write(yaml string) {
	w.t.Helper()
	tmp := w.config + ".tmp"
	if err := os.WriteFile(tmp, []byte(w.fill(yaml)), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, w.config); err != nil {
		w.t.Fatal(err)
	}
}

// run starts the process; what it prints goes to the file "output".
func (w *weir) run(args ...string) {
	w.t.Helper()
	out, err := os.OpenFile(filepath.Join(w.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	w.cmd = exec.Command(w.program, append([]string{"run", "-c", w.config}, args...)...)
	w.cmd.Stdout, w.cmd.Stderr = out, out
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	exited := make(chan error, 1)
	w.exited = exited
	go func(cmd *exec.Cmd) { exited <- cmd.Wait() }(w.cmd)
}

// kill ends the process without a chance to say goodbye.
func (w *weir) kill() {
	if w.cmd == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	<-w.exited
	w.cmd = nil
}

// terminate sends SIGTERM and waits for a clean exit.
func (w *weir) terminate() {
	w.t.Helper()
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	w.awaitExit(45 * time.Second)
}

// awaitExit waits for the process to end by itself, with code 0.
func (w *weir) awaitExit(limit time.Duration) {
	w.t.Helper()
	select {
	case err := <-w.exited:
		if err != nil {
			w.t.Errorf("weir ended with %v", err)
		}
		w.cmd = nil
	case <-time.After(limit):
		w.t.Fatalf("weir runs on %v after it should have left", limit)
	}
}

// awaitReady waits for /readyz to say yes.
func (w *weir) awaitReady() {
	w.t.Helper()
	eventually(w.t, 20*time.Second, "weir is ready", func() bool {
		select {
		case err := <-w.exited:
			w.exited <- err
			w.t.Fatalf("weir ended with %v\n%s", err, w.tail(20))
		default:
		}
		code, _, err := w.call("GET", "/readyz", "")
		return err == nil && code == 200
	})
}

// tail is the end of what the process printed.
func (w *weir) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(w.output()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// output is all that the process has printed.
func (w *weir) output() string {
	b, _ := os.ReadFile(filepath.Join(w.dir, "output"))
	return string(b)
}

// call talks to the admin API.
func (w *weir) call(method, path, body string) (code int, answer []byte, err error) {
	req, err := http.NewRequest(method, "http://admin"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/v1/config") {
		req.Header.Set("Content-Type", "application/yaml")
	}
	resp, err := w.admin.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// get reads JSON from the admin API.
func (w *weir) get(path string, into any) {
	w.t.Helper()
	code, answer, err := w.call("GET", path, "")
	if err != nil || code != 200 {
		w.t.Fatalf("GET %s: %d %s, %v", path, code, answer, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		w.t.Fatalf("GET %s: %v in %s", path, err, answer)
	}
}

// status is the part of /v1/status that tests look at.
type status struct {
	Version int `json:"version"`
	Pinned  any `json:"pinned"`
	File    struct {
		State    string `json:"state"`
		Problems []struct {
			Line    int    `json:"line"`
			Path    string `json:"path"`
			Message string `json:"message"`
			Fix     string `json:"fix"`
		} `json:"problems"`
	} `json:"file"`
}

func (w *weir) status() (s status) {
	w.t.Helper()
	w.get("/v1/status", &s)
	return s
}

// awaitVersion waits until a version newer than n runs, and returns it.
func (w *weir) awaitVersion(n int) (now int) {
	w.t.Helper()
	eventually(w.t, 20*time.Second, "a version after "+strconv.Itoa(n), func() bool {
		now = w.status().Version
		return now > n
	})
	return now
}

// backendState is the state of one backend as /v1/pools tells it.
func (w *weir) backendState(pool, address string) string {
	w.t.Helper()
	var p struct {
		Backends []struct{ Address, State string }
	}
	w.get("/v1/pools/"+pool, &p)
	for _, b := range p.Backends {
		if b.Address == address {
			return b.State
		}
	}
	return "absent"
}

// cli runs another weir command against this installation.
func (w *weir) cli(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	cmd := exec.Command(binary, append(args, "-c", w.config)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// rss is the process's resident memory in bytes.
func (w *weir) rss() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	kib, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	return kib << 10
}

// eventually polls: what happens in other processes cannot be waited for.
func eventually(t *testing.T, limit time.Duration, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// freeAddress is an address that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
