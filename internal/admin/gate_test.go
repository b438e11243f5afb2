package admin_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"weir/internal/admin"
)

// A gate that stands aside leaves its socket to others and comes back on another.
func TestGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	ln, err := admin.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	g := admin.NewGate(ln, true)
	accepted := make(chan error, 1)
	accept := func() {
		c, err := g.Accept()
		if err == nil {
			err = c.Close()
		}
		accepted <- err
	}
	dial := func() {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
	}
	go accept()
	dial()
	if err := <-accepted; err != nil {
		t.Error(err)
	}

	go accept() // waits, first for a connection and then for the return
	g.Aside()
	g.Aside()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket's file went: %v", err)
	}
	if g.Listener() != nil || g.Addr().String() != path {
		t.Errorf("listens with %v, on %v", g.Listener(), g.Addr())
	}
	again, err := admin.Listen("unix:" + path) // which nobody answers on
	if err != nil {
		t.Fatal(err)
	}
	g.Return(again)
	dial()
	if err := <-accepted; err != nil {
		t.Error(err)
	}

	g.Own(true)
	if err := g.Close(); err != nil || !g.Owns() {
		t.Errorf("%v, owns %v", err, g.Owns())
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file stays: %v", err)
	}
	if _, err := g.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed gate accepts: %v", err)
	}
	if err := g.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// One that is closed while it stands aside ends who waits.
func TestGateClosedAside(t *testing.T) {
	ln, err := admin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := admin.NewGate(ln, true)
	g.Aside()
	accepted := make(chan error, 1)
	go func() { _, err := g.Accept(); accepted <- err }()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
