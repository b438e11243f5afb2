package bed

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The program that the test runs is itself: told so it accepts at an address,
// until it is ended.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "listen" {
		ln, err := net.Listen("tcp", os.Args[2])
		if err != nil {
			os.Exit(1)
		}
		for {
			c, err := ln.Accept()
			if err != nil {
				os.Exit(1)
			}
			_ = c.Close()
		}
	}
	os.Exit(m.Run())
}

func TestRunAndStop(t *testing.T) {
	b := New(t.TempDir())
	defer b.Stop()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Run(t.Context(), Program{Name: "one", Path: os.Args[0], Args: []string{"listen", "LISTEN"}, Config: "at LISTEN in DIR"}, address)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(p.Dir, "config")); string(text) != "at "+address+" in "+p.Dir {
		t.Errorf("the configuration is %q", text)
	}
	c, err := net.Dial("tcp", p.Address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	b.Stop()
	if err := syscall.Kill(p.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is there after Stop: %v", p.PID, err)
	}
}

func TestLookPath(t *testing.T) {
	if _, err := LookPath("no-such-tool"); err == nil || !strings.Contains(err.Error(), "no-such-tool") {
		t.Errorf("%v, want that it is not found", err)
	}
	if path, err := LookPath("go"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("%q, %v", path, err)
	}
}
