package proxy_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
)

// A server that stood aside for a process which failed serves again: on the same
// sockets, with what waited in their backlogs, and on connections at rest.
func TestReopen(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	for _, address := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		w := testkit.StartOn(t, strings.Replace(before(b), "127.0.0.1:0", address, 1), single)
		atRest, silent := testkit.Dial(t, w.Addr("web")), testkit.Dial(t, w.Addr("web"))
		atRest.Get("/")

		sockets, err := w.Proxy.Sockets()
		if err != nil || len(sockets) != 1 {
			t.Fatalf("%+v, %v", sockets, err)
		}
		w.Proxy.HandOver(func(key string, _ loop.Resting) error {
			if key != sockets[0].Key {
				t.Errorf("a connection of %s", key)
			}
			return loop.ErrLater // nobody is there to take it
		})
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := w.Proxy.Shutdown(short); err == nil {
			t.Error("connections were lost")
		}
		cancel()
		if w.Proxy.Ready() {
			t.Error("ready while it stands aside")
		}
		waiting := testkit.Dial(t, sockets[0].Address)

		err = w.Proxy.Reopen(func(key, _ string) (net.Listener, error) {
			if key != sockets[0].Key {
				return nil, nil
			}
			f := os.NewFile(uintptr(sockets[0].FD), key)
			defer f.Close()
			return net.FileListener(f)
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Proxy.OwnSockets([]string{sockets[0].Key})
		for _, c := range []*testkit.Client{waiting, silent, atRest, testkit.Dial(t, sockets[0].Address)} {
			for range 2 {
				if r := c.Get("/"); r.Status != 200 || !r.Persists() {
					t.Error(r)
				}
			}
		}
		if !w.Proxy.Ready() {
			t.Error("not ready")
		}
	}
}

// A connection for a listener that is not there is closed.
func TestAdoptByNobody(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.StartOn(t, before(b), single)
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[0])
	if err := w.Proxy.Adopt("none", loop.Resting{FD: pair[1]}); err == nil {
		t.Error("no error")
	}
	if n, err := syscall.Read(pair[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d, %v; want the end", n, err)
	}
}

// Elsewhere than on Linux sockets stay where they are.
func TestSocketsOfPortable(t *testing.T) {
	b := testkit.NewBackend(t, testkit.Answer(200, "ok"))
	w := testkit.StartOn(t, before(b), loop.Options{Loops: 1, Portable: true})
	list, err := w.Proxy.Sockets()
	if err == nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}
