package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// backend is one backend as the run sees it: an address, and the process behind
// it, if there is one.
type backend struct {
	id      int
	address string
	service time.Duration
	slots   int
	cmd     *exec.Cmd // nil while it is dead
	frozen  bool
	had     int64 // requests, when it was last asked
	in      io.WriteCloser
	out     *bufio.Reader
}

// farm is backends of one kind, each a process of its own so that kill -9 can be
// done to it.
type farm []*backend

// newFarm starts n backends at addresses of a network of their own: group keeps
// farms apart. Not those of 127.0.0.1, and no ports that the kernel gives to
// clients: a connection to a dead port could meet another client there, or itself.
func newFarm(ctx context.Context, group, n int, service time.Duration, slots int) (farm, error) {
	var f farm
	for id := range n {
		b := &backend{id: id, service: service, slots: slots, address: fmt.Sprintf("127.77.%d.%d:8080", group, 1+id)}
		f = append(f, b)
		if err := b.start(ctx); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

// stop ends all processes.
func (f farm) stop() {
	for _, b := range f {
		b.kill()
	}
}

func (f farm) addresses() []string {
	out := make([]string, len(f))
	for i, b := range f {
		out[i] = b.address
	}
	return out
}

// start runs the process and waits until it listens, or lets a frozen one go on.
// It does nothing if it runs.
func (b *backend) start(ctx context.Context) error {
	if b.frozen {
		b.frozen = false
		return b.cmd.Process.Signal(syscall.SIGCONT)
	}
	if b.cmd != nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, helperCommand, strconv.Itoa(b.id), b.address, b.service.String(), strconv.Itoa(b.slots))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.cmd, b.in, b.out, b.had = cmd, in, bufio.NewReader(out), 0
	if _, err := b.out.ReadString('\n'); err != nil {
		b.kill()
		return fmt.Errorf("the backend at %s does not listen: %w", b.address, err)
	}
	return nil
}

// kill ends the process as kill -9 does.
func (b *backend) kill() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	_ = b.in.Close()
	b.cmd, b.frozen = nil, false
}

// freeze stops the process in its tracks: its kernel still accepts for it.
func (b *backend) freeze() error {
	if b.cmd == nil {
		return nil
	}
	b.frozen = true
	return b.cmd.Process.Signal(syscall.SIGSTOP)
}

// tell sends a word to the process, which answers how many requests it has had.
func (b *backend) tell(word string) error {
	if _, err := fmt.Fprintln(b.in, word); err != nil {
		return err
	}
	line, err := b.out.ReadString('\n')
	if err != nil {
		return err
	}
	b.had, err = strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return err
}

// become makes something wrong with the backend, or right again.
func (b *backend) become(ctx context.Context, f fault) error {
	if f == killed {
		b.kill()
		return nil
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	return b.tell(string(f))
}

// count is how many requests the process of the backend has had; 0 for a dead one.
func (b *backend) count() (int64, error) {
	switch {
	case b.cmd == nil:
		return 0, nil
	case b.frozen:
		return b.had, nil
	}
	err := b.tell("count")
	return b.had, err
}
