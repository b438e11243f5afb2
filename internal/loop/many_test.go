package loop_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/loop"
)

// clientEnv makes the test binary a client process: the two ends of 10,000
// connections need more descriptors than one process may have.
const clientEnv = "LOOP_TEST_CLIENT"

func TestMain(m *testing.M) {
	if address := os.Getenv(clientEnv); address != "" {
		if err := clientMain(address, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// clientMain does what in says, a line at a time, and answers each line with ok.
func clientMain(address string, in io.Reader, out io.Writer) error {
	var conns []net.Conn
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var what string
		var n int
		fmt.Sscan(lines.Text(), &what, &n)
		switch what {
		case "open":
			for range n {
				c, err := net.Dial("tcp", address)
				if err != nil {
					return err
				}
				conns = append(conns, c)
			}
		case "use":
			if err := useAll(conns); err != nil {
				return err
			}
		case "close":
			for _, c := range conns {
				c.Close()
			}
		}
		fmt.Fprintln(out, "ok")
	}
	return lines.Err()
}

// useAll sends on all connections, then reads the answers, some at a time.
func useAll(conns []net.Conn) error {
	const group = 500
	for len(conns) > 0 {
		some := conns[:min(group, len(conns))]
		conns = conns[len(some):]
		for i, c := range some {
			c.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(c, strconv.Itoa(10_000+i)); err != nil {
				return err
			}
		}
		var buf [5]byte
		for i, c := range some {
			if _, err := io.ReadFull(c, buf[:]); err != nil || string(buf[:]) != strconv.Itoa(10_000+i) {
				return fmt.Errorf("connection %d read %q, %w", i, buf, err)
			}
		}
	}
	return nil
}

func TestManyConnections(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		if strings.HasSuffix(t.Name(), "/quiet") {
			t.Skip("what it is for has few")
		}
		n := 10_000
		if portable {
			n = 5_000 // the race detector knows at most 8,128 goroutines
		}
		g := start(t, loop.Options{Portable: portable})
		p := &parking{}
		ln := serve(t, g, p.handle)
		tell := client(t, ln)

		before := heap()
		tell("open", n)
		eventually(t, "not all are there", func() bool { return ln.Conns() == n })
		if got := p.starts.Load(); got != 0 {
			t.Errorf("%d connections have a coroutine before their first byte", got)
		}
		for range 2 {
			tell("use", 0)
			eventually(t, "not all are parked", func() bool { return p.parked.Load() == p.starts.Load() })
		}
		if got := p.starts.Load(); got < int64(2*n) {
			t.Errorf("%d starts, want at least %d", got, 2*n)
		}
		t.Logf("%d bytes of heap a parked connection", (heap()-before)/n)
		tell("close", 0)
		eventually(t, "connections are left", func() bool { return ln.Conns() == 0 })
	})
}

// client starts the client process. What it is told is done when tell returns.
func client(t *testing.T, ln *loop.Listener) (tell func(what string, n int)) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), clientEnv+"="+ln.Addr().String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error("client:", err)
		}
	})
	answers := bufio.NewReader(out)
	return func(what string, n int) {
		t.Helper()
		fmt.Fprintln(in, what, n)
		if line, err := answers.ReadString('\n'); line != "ok\n" {
			t.Fatalf("the client answers %s with %q, %v", what, line, err)
		}
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
