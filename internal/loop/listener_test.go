package loop_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
)

func TestBalance(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 4, Portable: portable})
		ln := serve(t, g, echo)
		const n = 1000
		var clients []net.Conn
		for range n {
			clients = append(clients, dial(t, ln))
		}
		eventually(t, "not all are there", func() bool { return ln.Conns() == n })
		fewest, most := n, 0
		for i := range g.Len() {
			fewest, most = min(fewest, g.Loop(i).Conns()), max(most, g.Loop(i).Conns())
		}
		if float64(most) > 1.2*float64(fewest) {
			t.Errorf("one loop has %d connections, another %d", most, fewest)
		}
		// wherever they went, they work
		for _, c := range clients {
			say(t, c, "x", "x")
			c.Close()
		}
	})
}

func TestAddresses(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		f := func(network, address string) {
			t.Helper()
			g := start(t, loop.Options{Loops: 1, Portable: portable})
			done := make(chan struct{})
			var remote, local net.Addr
			var remotePort, localPort netip.AddrPort
			ln := serveOn(t, g, network, address, func(c *loop.Conn) {
				remote, local = c.RemoteAddr(), c.LocalAddr()
				remotePort, localPort = c.RemoteAddrPort(), c.LocalAddrPort()
				close(done)
			})
			c := dial(t, ln)
			io.WriteString(c, "x")
			wait(t, done)
			if network == "unix" {
				if remotePort.IsValid() || localPort.IsValid() || remote.Network() != "unix" || local.String() != address {
					t.Errorf("unix: %v %v %v %v", remote, local, remotePort, localPort)
				}
				return
			}
			if remote.String() != c.LocalAddr().String() || local.String() != c.RemoteAddr().String() {
				t.Errorf("%s: remote %v, local %v; the client is %v and dialed %v", address, remote, local, c.LocalAddr(), c.RemoteAddr())
			}
			if remotePort.String() != remote.String() || localPort.String() != local.String() {
				t.Errorf("%s: %v is not %v, or %v not %v", address, remotePort, remote, localPort, local)
			}
		}
		f("tcp", "127.0.0.1:0")
		f("tcp", "[::1]:0")
		f("unix", filepath.Join(t.TempDir(), "x.sock"))
	})
}

// A port without a host is open for both families, and IPv4 clients look like it.
func TestDualStack(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		ln := serveOn(t, g, "tcp", ":0", func(c *loop.Conn) { io.WriteString(c, c.RemoteAddrPort().Addr().String()) })
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		for _, host := range []string{"127.0.0.1", "::1"} {
			c, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			say(t, c, "x", host)
		}
	})
}

func TestListenFails(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		ln := serve(t, g, echo)
		if _, err := g.Listen("tcp", ln.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the address is taken: %v", err)
		}
		if _, err := g.Listen("tcp", "127.0.0.1:none"); err == nil {
			t.Error("listens on no port")
		}
		// once it is closed, at once, it can be had again; what is open stays
		c := dial(t, ln)
		say(t, c, "x", "x")
		ln.Close()
		again := serveOn(t, g, "tcp", ln.Addr().String(), echo)
		say(t, dial(t, again), "y", "y")
		say(t, c, "z", "z")
		g.Close()
		if _, err := g.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed group listens: %v", err)
		}
	})
}

func TestUnixSocketFile(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		path := filepath.Join(t.TempDir(), "x.sock")

		// one whose owner died is replaced
		dead, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		dead.(*net.UnixListener).SetUnlinkOnClose(false)
		dead.Close()
		ln := serveOn(t, g, "unix", path, echo)
		say(t, dial(t, ln), "x", "x")

		// one whose owner lives is not
		if _, err := g.Listen("unix", path); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the socket is in use: %v", err)
		}
		say(t, dial(t, ln), "x", "x")
		ln.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket file is still there: %v", err)
		}

		// what is no socket is left alone
		os.WriteFile(path, []byte("precious"), 0o600)
		if _, err := g.Listen("unix", path); err == nil {
			t.Error("listens on a file")
		}
		if b, _ := os.ReadFile(path); string(b) != "precious" {
			t.Errorf("the file is now %q", b)
		}
	})
}

func TestDetach(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		f := func(network, address string) {
			t.Helper()
			g := start(t, loop.Options{Loops: 1, Portable: portable})
			plain := make(chan struct{})
			ln := serveOn(t, g, network, address, func(c *loop.Conn) {
				var buf [6]byte
				if n, err := io.ReadFull(c, buf[:]); err != nil {
					t.Errorf("read %q, %v", buf[:n], err)
				}
				nc, err := c.Detach()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after Detach: %v", err)
				}
				go func() {
					defer close(plain)
					defer nc.Close()
					nc.SetDeadline(time.Now().Add(patience))
					io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc}) // without splice
				}()
			})
			// the rest of what is here already belongs to the detached connection
			sent := "detach" + strings.Repeat("0123456789", 3000)
			c := dial(t, ln)
			io.WriteString(c, sent)
			hear(t, c, sent[6:])
			say(t, c, "more", "more")
			eventually(t, "still counted", func() bool { return ln.Conns() == 0 && g.Loop(0).Conns() == 0 })
			c.Close()
			wait(t, plain)
		}
		f("tcp", "127.0.0.1:0")
		f("unix", filepath.Join(t.TempDir(), "x.sock"))
	})
}

// A kept connection outlives its handler.
func TestKeep(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 1, Portable: portable})
		ln := serve(t, g, func(c *loop.Conn) {
			c.Keep()
			c.Loop().Go(func() {
				defer c.Close()
				echo(c)
			})
		})
		c := dial(t, ln)
		say(t, c, "one", "one")
		say(t, c, "two", "two")
		c.(*net.TCPConn).CloseWrite()
		ended(t, c)
	})
}

// When there are no file descriptors left, clients wait, and are served once
// there are some again.
func TestOutOfDescriptors(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		g := start(t, loop.Options{Loops: 2, Portable: portable})
		ln := serve(t, g, echo)
		say(t, dial(t, ln), "before", "before")

		// the client's socket is made while that is possible, for a connection later
		client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(client)
		restore := lowerFileLimit(t)
		defer restore()
		var hoard []*os.File
		for {
			f, err := os.Open("/dev/null")
			if err != nil {
				break
			}
			hoard = append(hoard, f)
		}
		ap := ln.Addr().(*net.TCPAddr).AddrPort()
		if err := syscall.Connect(client, &syscall.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Write(client, []byte("during")); err != nil {
			t.Fatal(err)
		}
		for range 3 { // the loops have looked at the listener
			on(t, g.Loop(0), func() {})
			on(t, g.Loop(1), func() {})
		}
		if n := ln.Conns(); n != 1 {
			t.Errorf("%d connections without descriptors, want 1", n)
		}
		for _, f := range hoard {
			f.Close()
		}
		var buf [6]byte
		if n, err := syscall.Read(client, buf[:]); err != nil || !bytes.Equal(buf[:n], []byte("during")) {
			t.Errorf("read %q, %v", buf[:n], err)
		}
	})
}

// lowerFileLimit leaves room for a few more descriptors.
func lowerFileLimit(t *testing.T) (restore func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = uint64(openFiles(t) + 32)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) }
}
