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
)

const (
	manyEnv   = "HEALTH_TEST_MANY"   // set, TestManyTargets runs: it takes half a minute
	acceptEnv = "HEALTH_TEST_ACCEPT" // set, the test binary is the backend, whose work is not to be counted
)

func TestMain(m *testing.M) {
	if os.Getenv(acceptEnv) != "" {
		if err := acceptAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// acceptAll accepts and closes until nobody holds the other end of our input.
func acceptAll() error {
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
		io.Copy(io.Discard, conn)
		conn.Close()
	}
}

// acceptor starts a process that accepts, and returns where.
func acceptor(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), acceptEnv+"=1")
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
			t.Error("acceptor:", err)
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

// What ten thousand targets cost that are asked every five seconds.
func TestManyTargets(t *testing.T) {
	if os.Getenv(manyEnv) == "" {
		t.Skip("measures for half a minute; set " + manyEnv)
	}
	addr := acceptor(t)
	for _, check := range []health.Check{nothing{}, health.TCP{}} {
		measure(t, check, addr)
	}
}

func measure(t *testing.T, check health.Check, addr string) {
	const n, interval, periods = 10_000, 5 * time.Second, 2
	var probes, failed atomic.Int64
	p := health.NewProber(func(_ string, r health.Result) {
		probes.Add(1)
		if r.Err != nil && failed.Add(1) == 1 {
			t.Error(r.Err)
		}
	})
	want := targets{}
	for i := range n {
		want[fmt.Sprint(i)] = health.Target{
			Addr: addr, Check: check, Interval: interval, Timeout: 2 * time.Second, Fall: 3, Rise: 2,
		}
	}
	heap := heapInUse()
	p.Sync(want)
	time.Sleep(interval + time.Second) // all have begun
	heap = heapInUse() - heap
	user, sys := cpu(t)
	probes.Store(0)
	start := time.Now()
	time.Sleep(periods * interval)
	took, asked := time.Since(start), probes.Load()
	userAfter, sysAfter := cpu(t)
	p.Sync(nil)
	p.Wait()
	user, sys = userAfter-user, sysAfter-sys
	t.Logf("%T: %d probes in %v: user %.1f %%, system %.1f %% of a core; %v a probe; %d bytes a target; %d failed",
		check, asked, took.Round(time.Millisecond), 100*user.Seconds()/took.Seconds(), 100*sys.Seconds()/took.Seconds(),
		(user+sys)/time.Duration(max(1, asked)), heap/n, failed.Load())
	if want := int64(n * periods); asked < want*9/10 || asked > want*11/10 {
		t.Errorf("%T: %d probes, want about %d", check, asked, want)
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
