package admin_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/internal/admin"
)

func TestListenOnUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	ln, err := admin.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v (%v), want 0660", info.Mode(), err)
	}

	// somebody answers there: it is not taken away
	if _, err := admin.Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("second listener: %v, want an error that names %s", err, path)
	}

	// the file of a process that was killed is replaced
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ln, err = admin.Listen("unix:" + path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	_ = ln.Close()

	// a file that is no socket is somebody's
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Listen("unix:" + path); err == nil {
		t.Error("listens over a regular file")
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file now holds %q", text)
	}
}

func TestListenOnTakenAddress(t *testing.T) {
	ln, err := admin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = admin.Listen(ln.Addr().String())
	if err == nil || !strings.Contains(err.Error(), ln.Addr().String()) || !strings.Contains(err.Error(), "another Weir") {
		t.Errorf("error %v, want address and a hint", err)
	}
}

// A stream that never ends by itself must not hold up the end of the server,
// nor a request that runs be cut by it.
func TestServeEndsWithItsContext(t *testing.T) {
	ln, err := admin.Listen("unix:" + filepath.Join(t.TempDir(), "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{}, 2)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		if r.URL.Path == "/stream" {
			<-r.Context().Done()
			return
		}
		time.Sleep(50 * time.Millisecond) // is working
		_, _ = io.WriteString(w, "done")
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- admin.Serve(ctx, ln, h, zap.NewNop()) }()

	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ln.Addr().String())
		},
	}}
	get := func(path string) chan string {
		got := make(chan string, 1)
		go func() {
			resp, err := client.Get("http://localhost" + path)
			if err != nil {
				got <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			got <- string(body)
		}()
		return got
	}
	stream, short := get("/stream"), get("/short")
	<-entered
	<-entered
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v, want nil", err)
	}
	if got := <-short; got != "done" {
		t.Errorf("the request that ran got %q", got)
	}
	<-stream
}
