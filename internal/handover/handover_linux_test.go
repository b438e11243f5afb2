package handover

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// heirEnv makes the test binary the process that takes over.
const heirEnv = "WEIR_TEST_HEIR"

func TestMain(m *testing.M) {
	switch os.Getenv(heirEnv) {
	case "serve":
		if err := heir(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "activated":
		if err := activated(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// heir answers one connection of the socket that was passed, then what the old
// process gives away, until that one says that it will not come back.
func heir() error {
	in, err := Inherit()
	if err != nil {
		return err
	}
	if left := os.Getenv(env); left != "" {
		return fmt.Errorf("the environment still has %s", left)
	}
	if ln, _ := in.Take(Admin, "web", "x"); ln != nil {
		return fmt.Errorf("a socket of another kind was taken")
	}
	ln, err := in.Take(Proxy, "web", "x")
	if err != nil || ln == nil {
		return fmt.Errorf("take: %v, %v", ln, err)
	}
	if dropped := in.Drop(); len(dropped) != 1 || dropped[0] != "spare" {
		return fmt.Errorf("dropped %q", dropped)
	}
	if owned := in.Owned(Proxy); len(owned) != 1 || owned[0] != "web" {
		return fmt.Errorf("owned %q", owned)
	}
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	io.WriteString(c, "accepted")
	c.Close()
	old := in.Replaces()
	if err := old.Ready("heir 1"); err != nil {
		return err
	}
	over := false
	old.Run(func(c Conn) {
		f := os.NewFile(uintptr(c.FD), "given")
		fmt.Fprintf(f, "%s %s %d %v", c.Key, c.Remote, c.Tag, c.Left)
		f.Close()
	}, func() { over = true })
	if !over {
		return fmt.Errorf("Run ended and did not say so")
	}
	old.Leaving() // too late: nobody hears
	return nil
}

// listen is a socket that is passed on, and its address.
func listen(t *testing.T) (fd int, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	fd, err = Dup(ln.(syscall.Conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseFD(fd) })
	return fd, ln.Addr().String()
}

// A socket, a connection and every word go from one process to the other.
func TestHandover(t *testing.T) {
	fd, address := listen(t)
	spare, _ := listen(t)
	waiting, err := net.Dial("tcp", address) // before there is anybody
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	t.Setenv(heirEnv, "serve")
	t.Setenv("LISTEN_FDS", "7") // not for the child
	c, err := Start(os.Args[0], nil, []Socket{
		{Kind: Proxy, Key: "web", FD: fd, Owned: true}, {Kind: Proxy, Key: "other", Address: "spare", FD: spare},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	select {
	case build := <-c.Ready():
		if build != "heir 1" {
			t.Errorf("it is %q", build)
		}
	case <-c.Ended():
		t.Fatal(c.How())
	case <-time.After(20 * time.Second):
		c.Kill()
		t.Fatal("not ready after 20 s")
	}
	if text, err := io.ReadAll(waiting); string(text) != "accepted" {
		t.Errorf("the backlog's connection got %q, %v", text, err)
	}
	if nonblock(t, fd) == 0 {
		t.Error("the socket blocks now, for whoever shares it")
	}

	near, far, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Give(Conn{Key: "web", FD: far, Remote: netip.MustParseAddrPort("192.0.2.1:99"), Tag: 5, Left: 1500 * time.Millisecond})
	CloseFD(far)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(near), "near")
	defer f.Close()
	if text, err := io.ReadAll(f); string(text) != "web 192.0.2.1:99 5 1.5s" {
		t.Errorf("the given connection got %q, %v", text, err)
	}
	c.Proven()
	c.Release()
	<-c.Ended()
	if c.How() != "exit status 0" {
		t.Error(c.How())
	}
}

func pipe() (near, far int, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	return pair[0], pair[1], err
}

func nonblock(t *testing.T, fd int) uintptr {
	t.Helper()
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return flags & syscall.O_NONBLOCK
}

// A process that ends is heard of, with its last words.
func TestChildEnds(t *testing.T) {
	script := filepath.Join(t.TempDir(), "weir")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := Start(script, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-c.Ended()
	if c.How() != "exit status 3" {
		t.Error(c.How())
	}
	if err := c.Give(Conn{FD: 0}); err == nil {
		t.Error("a connection was given to nobody")
	}
	c.Kill() // gone already

	if _, err := Start(filepath.Join(t.TempDir(), "none"), nil, nil); err == nil || !strings.Contains(err.Error(), "none: no such file") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// activated is a process that systemd has started with sockets.
func activated() error {
	// What systemd writes: the child cannot know it before.
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	in, err := Inherit()
	if err != nil {
		return err
	}
	if os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDNAMES") != "" {
		return fmt.Errorf("the environment is not clean")
	}
	if in.Replaces() != nil {
		return fmt.Errorf("it replaces somebody")
	}
	address := os.Getenv("WEIR_TEST_ADDRESS")
	ln, err := in.Take(Proxy, "anything", address)
	if err != nil || ln == nil || ln.Addr().String() != address {
		return fmt.Errorf("take %s: %v, %v", address, ln, err)
	}
	if again, _ := in.Take(Proxy, "anything", address); again != nil {
		return fmt.Errorf("it was taken twice")
	}
	if owned := in.Owned(Proxy); len(owned) > 0 {
		return fmt.Errorf("owned: %q", owned)
	}
	return ln.Close()
}

func TestSocketActivation(t *testing.T) {
	f := func(fd uintptr, address, want string) {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := syscall.ForkExec(os.Args[0], []string{os.Args[0]}, &syscall.ProcAttr{
			Env:   append(os.Environ(), heirEnv+"=activated", "LISTEN_FDS=1", "LISTEN_FDNAMES=web", "WEIR_TEST_ADDRESS="+address),
			Files: []uintptr{0, 1, w.Fd(), fd},
		})
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(p, &status, 0, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(text)); got != want || (status.ExitStatus() == 0) != (want == "") {
			t.Errorf("%s: said %q, exit status %d; want %q", address, got, status.ExitStatus(), want)
		}
	}
	fd, address := listen(t)
	f(uintptr(fd), address, "")

	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	packets, err := Dup(udp.(syscall.Conn))
	if err != nil {
		t.Fatal(err)
	}
	defer CloseFD(packets)
	f(uintptr(packets), address, "socket activation: descriptor 3 (web): it is no stream socket that listens: the unit needs ListenStream= and Accept=no")
}

// Sockets that were passed to somebody else are not ours.
func TestNotForUs(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	in, err := Inherit()
	if in != nil || err != nil {
		t.Errorf("inherited %v, %v", in, err)
	}
	if ln, err := in.Take(Proxy, "a", "b"); ln != nil || err != nil || in.Drop() != nil || in.Owned(Admin) != nil {
		t.Error("nothing has something in it")
	}
}

func TestSameAddress(t *testing.T) {
	f := func(bound, wanted string, want bool) {
		t.Helper()
		if got := sameAddress(bound, wanted); got != want {
			t.Errorf("bound to %s, wanted %s: %v", bound, wanted, got)
		}
	}
	f("127.0.0.1:80", "127.0.0.1:80", true)
	f("127.0.0.1:80", "127.0.0.1:81", false)
	f("0.0.0.0:80", ":80", true)
	f("[::]:80", ":80", true)
	f("127.0.0.1:80", ":80", false)
	f("[::1]:80", "[0:0::1]:80", true)
	f("0.0.0.0:80", "[::]:80", false) // one family more
	f("unix:/run/x.sock", "unix:/run/x.sock", true)
	f("unix:/run/x.sock", "unix:/run/y.sock", false)
	f("127.0.0.1:80", "localhost:80", false)
}

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "n"), "@weir-test-" + strconv.Itoa(os.Getpid())} {
		heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", name)
		n := NewNotifier()
		f := func(err error, want string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1024)
			heard.SetReadDeadline(time.Now().Add(20 * time.Second))
			k, err := heard.Read(b)
			if err != nil || !strings.HasPrefix(string(b[:k]), want) {
				t.Errorf("heard %q, %v; want %q", b[:k], err, want)
			}
		}
		f(n.Ready("serves version 3"), "READY=1\nSTATUS=serves version 3")
		f(n.Main(12), "MAINPID=12")
		f(n.Reloading(), "RELOADING=1\nMONOTONIC_USEC=")
		f(n.Stopping(), "STOPPING=1\n")
		heard.Close()
		if err := n.Stopping(); err == nil {
			t.Error("nobody heard it, and that is no error")
		}
	}
	if err := (Notifier{}).Ready("x"); err != nil {
		t.Errorf("nobody wants to know: %v", err)
	}
	if err := (Notifier{"vsock:1:2"}).Ready("x"); err == nil || !strings.Contains(err.Error(), "neither a path nor") {
		t.Errorf("an address of another kind: %v", err)
	}
}

// The program is found again by the name that it was started with, which may be
// a link.
func TestProgram(t *testing.T) {
	was := os.Args
	defer func() { os.Args = was }()
	dir := t.TempDir()
	link := filepath.Join(dir, "weir")
	target, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	f := func(name, path, want string) {
		t.Helper()
		t.Setenv("PATH", path)
		os.Args = []string{name}
		if got, err := Program(); got != want || err != nil {
			t.Errorf("%s is %s, %v; want %s", name, got, err, want)
		}
	}
	f(link, "", link)
	f("weir", "/nowhere:"+dir, link)
	f("weir", "/nowhere", target)
	t.Chdir(dir)
	f("./weir", "", link)
}
