//go:build unix

package health_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/health"
)

func shell(script string) health.Exec { return health.Exec{Argv: []string{"sh", "-c", script}} }

func TestExec(t *testing.T) {
	t.Setenv("SECRET", "hunter2")
	f := func(c health.Exec, addr, want string) {
		t.Helper()
		if got := probe(t, c, addr); !strings.Contains(got, want) {
			t.Errorf("%q for %s: %.200s, want %.200s", c.Argv, addr, got, want)
		}
	}
	const addr = "192.0.2.1:80"

	// the exit status is the verdict, whatever was said
	f(shell("exit 0"), addr, "pass")
	f(shell("echo no good; exit 0"), addr, "pass")
	f(shell("exit 3"), addr, "sh: exit status 3")
	f(shell("kill -TERM $$"), addr, "sh: signal: terminated")

	// the command knows whom to ask, and nothing that is not its business
	const tell = `echo "$WEIR_ADDRESS|$WEIR_HOST|$WEIR_PORT|$SECRET|"; exit 1`
	f(shell(tell), addr, ": 192.0.2.1:80|192.0.2.1|80||")
	f(shell(tell), "[2001:db8::1]:443", ": [2001:db8::1]:443|2001:db8::1|443||")
	f(shell(tell), "unix:/run/app.sock", ": unix:/run/app.sock||||")

	// what it says is one line of text, of both outputs, and not all of it
	f(shell(`printf 'a\n\033[31mb\r\n\0\377c\n'; echo d >&2; exit 1`), addr, "exit status 1: a [31mb c d")
	long := probe(t, shell(`yes | head -c 100000; exit 1`), addr)
	if len(long) > 1100 || !strings.HasSuffix(long, "y y y y") {
		t.Errorf("%d bytes of error, which begins %.50s", len(long), long)
	}

	// a command that cannot be run fails
	f(health.Exec{Argv: []string{"/no/such/program"}}, addr, "no such file")
	f(health.Exec{Argv: []string{"no-such-program"}}, addr, "not found")
	f(health.Exec{}, addr, "no command")
}

// lifeline is a named pipe for commands to hold open. What reads from it sees what
// they write, and the end when the last of them is gone.
func lifeline(t *testing.T) (path string, opened <-chan *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "lifeline")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	files := make(chan *os.File, 1)
	go func() {
		f, err := os.Open(path) // returns when a command has opened it, too
		if err != nil {
			t.Error(err)
			close(files)
			return
		}
		_ = f.SetReadDeadline(time.Now().Add(10 * time.Second))
		files <- f
	}()
	return path, files
}

// At the end of its time the command goes, and what it has started too.
func TestExecEndsWithItsContext(t *testing.T) {
	path, opened := lifeline(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	c := shell("echo begun; exec 3>" + path + "; sleep 1000 & echo both are here >&3; wait")
	go func() { done <- c.Probe(ctx, "192.0.2.1:80") }()
	line := <-opened
	defer line.Close()
	begun := make([]byte, len("both are here\n"))
	if _, err := io.ReadFull(line, begun); err != nil {
		t.Fatal(err)
	}
	cancel()
	err := <-done
	if !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), ": begun") {
		t.Errorf("%v, want that it was cancelled, and what it had said", err)
	}
	if _, err := io.ReadAll(line); err != nil {
		t.Errorf("something of it is still there: %v", err)
	}
}

// A command that leaves something in the background has exited all the same, and
// what it left does not stay.
func TestExecLeavesNothing(t *testing.T) {
	path, opened := lifeline(t)
	start := time.Now()
	if got := probe(t, shell("exec 3>"+path+"; sleep 1000 &"), "192.0.2.1:80"); got != "pass" {
		t.Error(got)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	line := <-opened
	defer line.Close()
	if _, err := io.ReadAll(line); err != nil {
		t.Errorf("what it left is still there: %v", err)
	}
}

// Execs that share a limit run so many at once, and one that finds no place in
// its time says nothing about the backend.
func TestExecLimit(t *testing.T) {
	dir := t.TempDir()
	c := shell("mkdir " + dir + "/busy || exit 1; sleep 0.02; rmdir " + dir + "/busy")
	c.Limit = health.NewExecLimit(1)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if got := probe(t, c, "192.0.2.1:80"); got != "pass" {
				t.Error("two at once: ", got)
			}
		})
	}
	wg.Wait()

	c.Limit <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := c.Probe(ctx, "192.0.2.1:80")
	if !errors.Is(err, health.ErrNotAsked) || !strings.Contains(err.Error(), "the 1 commands") {
		t.Errorf("%v, want that there was no place", err)
	}
	if got, want := cap(health.NewExecLimit(0)), 4*runtime.GOMAXPROCS(0); got != want {
		t.Errorf("%d at once, want %d", got, want)
	}
}
