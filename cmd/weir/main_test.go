package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/testkit"
)

// childEnv makes the test binary be weir itself: for what only a process of
// its own shows, such as exit codes and signals.
const childEnv = "WEIR_TEST_AS_WEIR"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
	}
	// The commands must find what the tests say, and nothing else.
	for _, name := range []string{"WEIR_ADMIN", "WEIR_TOKEN_FILE"} {
		_ = os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// result is what a command line gave.
type result struct {
	code        int
	out, stderr string
}

// weir runs a command line in this process.
func weir(t *testing.T, args ...string) result {
	t.Helper()
	return weirWith(t, "", args...)
}

// weirWith is weir with something on standard input.
func weirWith(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	code := execute(t.Context(), args, strings.NewReader(stdin), &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

// want checks the exit code and that each text is in what was printed.
func (r result) want(t *testing.T, code int, texts ...string) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.stderr, text) {
			t.Errorf("%q is not in\nstdout: %s\nstderr: %s", text, r.out, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "Usage:") {
		t.Errorf("an error prints usage:\n%s", r.stderr)
	}
	return r
}

// decode reads what was printed as JSON.
func (r result) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
}

// logText collects a log and lets others wait for a line in it.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{} // closed and replaced at each write
}

func newLogText() *logText { return &logText{news: make(chan struct{})} }

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.news)
	l.news = make(chan struct{})
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until text was logged, at most twenty seconds.
func (l *logText) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		found, news := strings.Contains(l.text.String(), text), l.news
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-news:
		case <-timeout:
			t.Fatalf("%q was not logged:\n%s", text, l)
		}
	}
}

// running is a weir run of this process.
type running struct {
	dir, file, admin string // admin is where it answers, for --admin
	log, access      *logText
	stop             func() int // as SIGTERM would; returns the exit code
}

// yaml is a configuration with the admin API on a socket in dir, and pools.
func yaml(dir, pools string) string {
	return `admin: {address: "unix:` + filepath.Join(dir, "a.sock") + `"}
listeners:
  - {name: web, address: "127.0.0.1:0", routes: [{name: all, pool: api}]}
pools:
` + pools
}

// oneBackend is a pool of one backend.
func oneBackend(address, more string) string {
	return "  api: {backends: [{address: \"" + address + "\"" + more + "}]}\n"
}

// start runs weir with pools until the test ends.
func start(t *testing.T, pools string, args ...string) *running {
	t.Helper()
	testkit.NoLeaks(t)
	dir := t.TempDir()
	w := &running{dir: dir, file: filepath.Join(dir, "weir.yaml"), admin: "unix:" + filepath.Join(dir, "a.sock"),
		log: newLogText(), access: newLogText()}
	write(t, w.file, yaml(dir, pools))
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan int, 1)
	go func() { left <- execute(ctx, append([]string{"run", "-c", w.file}, args...), nil, w.access, w.log) }()
	w.stop = sync.OnceValue(func() int { cancel(); return <-left })
	t.Cleanup(func() { w.stop() })
	w.log.await(t, `"configuration runs"`)
	return w
}

// do runs a command about this Weir.
func (w *running) do(t *testing.T, args ...string) result {
	t.Helper()
	return weir(t, append(args, "--admin", w.admin)...)
}

// web is the address of its listener.
func (w *running) web(t *testing.T) string {
	t.Helper()
	var s control.Status
	w.do(t, "status", "--json").decode(t, &s)
	return s.Traffic.Listeners[0].Address
}

// write puts text into a file, at once as an editor does.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// child is weir as a process of its own.
type child struct {
	*exec.Cmd
	log *logText // stderr
	out *logText
}

// process prepares a weir process in dir.
func process(t *testing.T, dir string, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], args...), log: newLogText(), out: newLogText()}
	c.Env = append(os.Environ(), childEnv+"=1")
	c.Dir, c.Stdout, c.Stderr = dir, c.out, c.log
	t.Cleanup(func() {
		if c.Process != nil && c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return c
}

// code waits for the process to end and returns its exit code.
func (c *child) code(t *testing.T) int {
	t.Helper()
	_ = c.Wait() // the code says the same
	return c.ProcessState.ExitCode()
}
