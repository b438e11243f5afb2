package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	maxOutput = 1 << 10                // bytes of a command's output that are looked at
	lastWords = 100 * time.Millisecond // for output that comes after a command's end
)

// ExecLimit is how many commands may run at once: a process costs more than a
// connection. Execs that share one count together; nil is no limit.
type ExecLimit chan struct{}

// NewExecLimit allows n commands at once; below 1, four for each processor.
func NewExecLimit(n int) ExecLimit {
	if n < 1 {
		n = 4 * runtime.GOMAXPROCS(0)
	}
	return make(ExecLimit, n)
}

// enter waits until there is room, and takes it. leave gives it back.
func (l ExecLimit) enter(ctx context.Context) (leave func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: no place among the %d commands that may run at once: %w", ErrNotAsked, cap(l), ctx.Err())
	}
}

// Exec is the Check that runs a command and is content when it exits with 0. The
// command finds out whom to ask in WEIR_ADDRESS, the backend's address, and in
// WEIR_HOST and WEIR_PORT, its parts, which are empty for a socket. Otherwise it
// has nothing but PATH: what is in our own environment may be secret. When the
// probe's time is over it is killed, with the processes it has started.
type Exec struct {
	Argv  []string // the program and its arguments; no shell
	Limit ExecLimit
}

// Probe runs the command for addr. What it writes is the error if it fails.
func (c Exec) Probe(ctx context.Context, addr string) error {
	if len(c.Argv) == 0 {
		return errors.New("no command")
	}
	leave, err := c.Limit.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	var out output
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = environment(addr)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = lastWords
	ownGroup(cmd)
	return c.judge(ctx, run(cmd), out.String())
}

// run runs cmd and leaves nothing of it behind.
func run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	killGroup(cmd) // what it has put into the background is not a server of ours
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it had exited with 0; something else held its output open
	}
	return err
}

func (c Exec) judge(ctx context.Context, err error, said string) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = fmt.Errorf("%s: %w", c.Argv[0], ctx.Err())
	case errors.Is(err, syscall.EAGAIN) || outOfResources(err):
		return fmt.Errorf("%w: %w", ErrNotAsked, err) // no process to be had
	case errors.As(err, &exit):
		err = fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	if said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

func environment(addr string) []string {
	host, port := "", ""
	if !strings.HasPrefix(addr, "unix:") {
		host, port, _ = net.SplitHostPort(addr) // without a port there are no parts
	}
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"WEIR_ADDRESS=" + addr,
		"WEIR_HOST=" + host,
		"WEIR_PORT=" + port,
	}
}

// output keeps the beginning of what is written to it.
type output struct{ kept []byte }

// Write takes everything: a command must not fail for what it says.
func (o *output) Write(b []byte) (int, error) {
	o.kept = append(o.kept, b[:min(len(b), maxOutput-len(o.kept))]...)
	return len(b), nil
}

// String is what was kept, in one line.
func (o *output) String() string { return oneLine(string(o.kept), maxOutput) }
