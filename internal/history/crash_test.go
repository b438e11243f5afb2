package history_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/history"
)

const (
	childDir = "WEIR_TEST_HISTORY_DIR" // set: this process is the child, and what it is to do
	childJob = "WEIR_TEST_HISTORY_JOB"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Getenv(childJob))
	}
	os.Exit(m.Run())
}

// child appends until it is killed, and prints each number as soon as Append
// has promised it.
func child(dir, job string) {
	if job == "limit" {
		limitFiles()
	}
	s, err := history.Open(dir, 1000)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := range 100_000 {
		n := len(s.List())
		v, err := s.Append(history.Version{Origin: "file"}, source(i))
		if err != nil {
			fmt.Println("error", err, n == len(s.List()))
			os.Exit(0)
		}
		fmt.Println(v.Number, i)
		s.SetState(history.State{Running: v.Number})
	}
}

// source is the i-th configuration of a child: a size that grows, so that a
// torn write would show.
func source(i int) []byte {
	return fmt.Appendf(bytes.Repeat([]byte("# line\n"), i*50%700), "number: %d\n", i)
}

func start(t *testing.T, dir, job string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childJob+"="+job)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// TestKilledWhileAppending kills a process that does nothing but append, at
// random moments, and looks at what is left each time.
func TestKilledWhileAppending(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	promised := map[int]int{} // number → which source
	for round := range rounds {
		cmd, out := start(t, dir, "append")
		in := bufio.NewReader(out)
		line, _ := in.ReadString('\n') // it works now
		go func() {
			time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
			cmd.Process.Kill()
		}()
		rest, _ := io.ReadAll(in)
		cmd.Wait()
		for _, line := range strings.Split(line+string(rest), "\n") {
			number, i, ok := strings.Cut(line, " ")
			n, err := strconv.Atoi(number)
			if !ok || err != nil {
				if line != "" {
					t.Fatalf("round %d: the child says %q", round, line)
				}
				continue
			}
			if _, again := promised[n]; again {
				t.Errorf("round %d: number %d was given twice", round, n)
			}
			promised[n], _ = strconv.Atoi(i)
		}
		verify(t, round, dir, promised)
	}
	if len(promised) < rounds {
		t.Errorf("only %d versions in %d rounds: the test does not test", len(promised), rounds)
	}
}

func verify(t *testing.T, round int, dir string, promised map[int]int) {
	t.Helper()
	s, err := history.Open(dir, 1_000_000)
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer s.Close()
	if d := s.Damaged(); len(d) != 0 {
		t.Errorf("round %d: damaged: %v", round, d)
	}
	for n, i := range promised {
		if _, got, err := s.Get(n); err != nil || !bytes.Equal(got, source(i)) {
			// the children keep 1000: the oldest may be gone
			if n > s.List()[0].Number {
				t.Errorf("round %d: version %d: %d bytes, %v", round, n, len(got), err)
			}
		}
	}
}

// TestFileTooLarge lets a child run into a file size limit in the middle of a
// write: what came before is there, and nothing is half there.
func TestFileTooLarge(t *testing.T) {
	dir := t.TempDir()
	cmd, out := start(t, dir, "limit")
	said, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the child: %v: %s", err, said)
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	last := lines[len(lines)-1]
	if !strings.Contains(last, "file too large") || !strings.HasSuffix(last, "true") {
		t.Fatalf("the child says %q, want a write that failed and left nothing", last)
	}
	s := mustOpen(t, dir, 1000)
	if got := len(s.List()); got != len(lines)-1 || len(s.Damaged()) != 0 {
		t.Errorf("%d versions, %v, want %d", got, s.Damaged(), len(lines)-1)
	}
	mustAppend(t, s, "more")
}
