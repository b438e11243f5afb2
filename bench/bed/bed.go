// Package bed runs programs beside each other on loopback, for the side-by-side
// runs: each in a directory of its own, with its configuration and what it
// prints.
package bed

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// patience bounds the start of a process, and its end.
const patience = 10 * time.Second

// Program is what to run. In Config and Args, LISTEN, DIR and CONFIG stand for
// the address, the directory and the file with the configuration.
type Program struct {
	Name   string // of the directory, too
	Path   string
	Args   []string
	Env    []string // in addition to that of this process
	Config string
}

// Process is a program that runs.
type Process struct {
	Name    string
	Address string
	Dir     string
	PID     int
	cmd     *exec.Cmd
}

// Bed is the processes that run in one directory. It is for one goroutine.
type Bed struct {
	dir   string
	procs []*Process
}

// New makes a bed in dir, which must exist and is the caller's to remove.
func New(dir string) *Bed { return &Bed{dir: dir} }

// Run starts p and waits until it listens at address. The caller calls Stop, also
// after an error.
func (b *Bed) Run(ctx context.Context, p Program, address string) (*Process, error) {
	proc := &Process{Name: p.Name, Address: address, Dir: filepath.Join(b.dir, p.Name)}
	if err := os.Mkdir(proc.Dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(proc.Dir, "config")
	fill := strings.NewReplacer("LISTEN", address, "DIR", proc.Dir, "CONFIG", config)
	if err := os.WriteFile(config, []byte(fill.Replace(p.Config)), 0o644); err != nil {
		return nil, err
	}
	args := make([]string, len(p.Args))
	for i, a := range p.Args {
		args[i] = fill.Replace(a)
	}
	out, err := os.Create(filepath.Join(proc.Dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	proc.cmd = exec.CommandContext(ctx, p.Path, args...)
	proc.cmd.Dir, proc.cmd.Stdout, proc.cmd.Stderr = proc.Dir, out, out
	proc.cmd.Env = append(os.Environ(), p.Env...)
	if err := proc.cmd.Start(); err != nil {
		return nil, err
	}
	proc.PID = proc.cmd.Process.Pid
	b.procs = append(b.procs, proc)
	if err := listening(ctx, address); err != nil {
		text, _ := os.ReadFile(out.Name())
		return nil, fmt.Errorf("%s does not listen: %w\n%s", p.Name, err, text)
	}
	return proc, nil
}

// Stop ends every process, the newest first, and waits for them.
func (b *Bed) Stop() {
	for _, p := range slices.Backward(b.procs) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		killer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait()
		killer.Stop()
	}
	b.procs = nil
}

// FreeAddress finds a port of 127.0.0.1 that nobody uses now.
func FreeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// LookPath finds a tool, also where daemons are kept.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return p, nil
		}
	}
	return "", err
}

// BuildWeir builds the weir of this module into dir.
func BuildWeir(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, "weir.bin")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "weir/cmd/weir")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weir: %w\n%s", err, out)
	}
	return path, nil
}

// listening waits until somebody accepts at address.
func listening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
