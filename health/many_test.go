//go:build unix

package health_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/health"
	"weir/internal/loop"
)

const (
	manyEnv    = "HEALTH_TEST_MANY"    // set, TestManyTargets runs: it takes a minute and a half
	backendEnv = "HEALTH_TEST_BACKEND" // set, the test binary is the backend, whose work is not to be counted
)

func TestMain(m *testing.M) {
	if os.Getenv(backendEnv) != "" {
		if err := answerAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// answerAll answers requests until nobody holds the other end of our input.
func answerAll() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		ln.Close()
	}()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil
		}
		go answer(conn)
	}
}

// answer takes what comes in one piece for a request, and keeps conn open.
func answer(conn net.Conn) {
	defer conn.Close()
	said := make([]byte, 1<<10)
	for {
		if _, err := conn.Read(said); err != nil {
			return
		}
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nServer: test\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"+
			"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")
		if err != nil {
			return
		}
	}
}

// anotherProcess starts a backend, and returns where.
func anotherProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), backendEnv+"=1")
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
			t.Error("backend:", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line[:len(line)-1]
}

// nothing is the Check that costs nothing: what is left is the schedule.
type nothing struct{}

func (nothing) Probe(context.Context, string) error { return nil }

// What ten thousand targets cost that are asked every five seconds, this process
// alone: HTTP with its connections kept and without, TCP, and the schedule itself.
func TestManyTargets(t *testing.T) {
	if os.Getenv(manyEnv) == "" {
		t.Skip("measures for a minute and a half; set " + manyEnv)
	}
	addr := anotherProcess(t)
	group, err := loop.New(loop.Options{Loops: 1, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	onLoop, onGoroutines := health.Pace{Loop: group.Loop(0), Spares: 10_000}, health.Pace{}
	measure(t, "HTTP, connections kept", health.HTTP{}, addr, &onLoop)
	measure(t, "HTTP, new connections", health.HTTP{Fresh: true}, addr, &onLoop)
	measure(t, "TCP", health.TCP{}, addr, &onLoop)
	measure(t, "HTTP, on goroutines", health.HTTP{}, addr, &onGoroutines)
	measure(t, "the schedule alone", nothing{}, addr, &onGoroutines)
}

func measure(t *testing.T, what string, check health.Check, addr string, pace *health.Pace) {
	if o := os.Getenv("ONLY"); o != "" && o != what {
		return
	}
	const n, interval, periods = 10_000, 5 * time.Second, 3
	var probes, first, failed atomic.Int64
	begun := make(chan struct{})
	p := health.NewProber(func(_ string, r health.Result) {
		probes.Add(1)
		if r.First && first.Add(1) == n {
			close(begun)
		}
		if r.Err != nil && failed.Add(1) == 1 {
			t.Error(r.Err)
		}
	})
	p.Pace = pace
	want := targets{}
	for i := range n {
		want[fmt.Sprint(i)] = health.Target{
			Addr: addr, Check: check, Interval: interval, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
		}
	}
	heap := heapInUse()
	p.Sync(want)
	<-begun
	heap = heapInUse() - heap
	user, sys := cpu(t)
	before, start := probes.Load(), time.Now()
	time.Sleep(periods * interval) // what is measured
	took, asked := time.Since(start), probes.Load()-before
	userAfter, sysAfter := cpu(t)
	p.Sync(nil)
	p.Wait()
	user, sys = userAfter-user, sysAfter-sys
	t.Logf("%s: %.1f %% of a core (user %.1f %%, system %.1f %%), %v a probe, %d probes in %v, %d bytes a target, %d failed",
		what, 100*(user+sys).Seconds()/took.Seconds(), 100*user.Seconds()/took.Seconds(), 100*sys.Seconds()/took.Seconds(),
		(user+sys)/time.Duration(max(1, asked)), asked, took.Round(time.Millisecond), int64(heap)/n, failed.Load())
	if want := int64(n * periods); asked < want*9/10 || asked > want*11/10 {
		t.Errorf("%s: %d probes, want about %d", what, asked, want)
	}
}

// cpu is what this process has used so far.
func cpu(t *testing.T) (user, sys time.Duration) {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// heapInUse counts stacks too: there is a goroutine for each target.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
