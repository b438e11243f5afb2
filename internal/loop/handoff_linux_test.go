package loop_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
)

// inherit is what another process makes of a listener's socket.
func inherit(t *testing.T, g *loop.Group, from *loop.Listener, handle func(*loop.Conn)) *loop.Listener {
	t.Helper()
	fd, err := from.Dup()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "inherited")
	defer f.Close()
	nl, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Inherit(nl)
	if err != nil {
		t.Fatal(err)
	}
	ln.Serve(handle, 0)
	return ln
}

// saying answers with a word, on connections that park at once.
func saying(word string) func(*loop.Conn) {
	return func(c *loop.Conn) {
		var b [1]byte
		for {
			if _, err := c.ReadIdle(b[:], 50*time.Millisecond, time.Minute); err != nil {
				return
			}
			if _, err := c.Write([]byte(word)); err != nil {
				return
			}
		}
	}
}

// Two groups share a socket: the one that stops leaves the backlog to the other,
// and connections at rest, parked and not.
func TestHandOff(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "x.sock")
			}
			old, next := start(t, loop.Options{Loops: 2}), start(t, loop.Options{Loops: 2})
			ln := serveOn(t, old, network, address, saying("old"))
			var clients []net.Conn
			for range 50 {
				clients = append(clients, dial(t, ln))
			}
			for _, c := range clients[10:] { // the first ten never said anything
				say(t, c, "x", "old")
			}
			heir := inherit(t, next, ln, saying("new"))

			var asked atomic.Int64
			ln.HandOff(func(r loop.Resting) error {
				if asked.Add(1)%3 == 0 {
					return loop.ErrLater
				}
				fd, err := syscall.Dup(r.FD)
				if err != nil {
					return err
				}
				r.FD = fd
				return heir.Adopt(r)
			})
			ln.Disown()
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "some were not given away", func() bool {
				ln.CloseIdle()
				return ln.Conns() == 0
			})
			for _, c := range clients {
				say(t, c, "y", "new")
			}
			for range 20 { // nobody else is woken for these
				say(t, dial(t, heir), "z", "new")
			}
			old.Close() // its coroutines would count as next's
			if network != "unix" {
				return
			}
			heir.Own()
			heir.Close()
			if _, err := os.Lstat(address); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket file is still there: %v", err)
			}
		})
	}
}

// What nobody takes is closed.
func TestHandOffRefused(t *testing.T) {
	g := start(t, loop.Options{Loops: 1})
	ln := serve(t, g, saying("old"))
	c := dial(t, ln)
	say(t, c, "x", "old")
	ln.HandOff(func(loop.Resting) error { return errors.New("no") })
	ln.Close()
	ln.CloseIdle()
	ended(t, c)
}
