package control_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/control"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/internal/testkit"
	"weir/proxy"
)

const childFile = "WEIR_TEST_CONTROL_FILE" // set: this process is the child, and what it runs

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		child(path)
	}
	os.Exit(m.Run())
}

// child starts and then does nothing but change the configuration until it is
// killed. It prints what it has been promised.
func child(path string) {
	group, err := loop.New(loop.Options{Loops: 1})
	exitIf(err)
	m := metrics.New(1)
	c, err := control.New(control.Options{Path: path, Proxy: proxy.New(proxy.Options{Group: group, Metrics: m}), Group: group, Metrics: m})
	exitIf(err)
	ctx := context.Background()
	exitIf(c.Start(ctx))
	go c.Run(ctx)
	for i := 0; ; i++ {
		version, _ := c.Config()
		fmt.Println("next", version)
		var v control.Verdict
		if i%4 == 3 {
			v, err = c.Rollback(ctx, 0, control.Origin{Kind: "api"})
		} else {
			v, err = c.Apply(ctx, []byte(saying(fmt.Sprint(os.Getpid(), " ", i))), control.Origin{Kind: "api"}, 0)
		}
		exitIf(err)
		if v.Result != control.Applied {
			exitIf(fmt.Errorf("%+v", v))
		}
		_, source := c.Config()
		fmt.Printf("done %d %q\n", v.Version, source)
	}
}

func exitIf(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

// TestKilledWhileApplying kills a Weir in the middle of changes, many times.
// Each time it starts again, with the last change it had confirmed or the one
// it was making.
func TestKilledWhileApplying(t *testing.T) {
	testkit.NoLeaks(t)
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	r := newRig(t, saying("one"))
	for round := range rounds {
		version, source := killed(t, r.path)
		r.start()
		n, got := r.ctl.Config()
		if n != version && n != version+1 || n == version && string(got) != source {
			t.Errorf("round %d: version %d runs with %q, confirmed was %d with %q", round, n, got, version, source)
		}
		if got := r.get(); !strings.HasPrefix(got, "200 ") {
			t.Errorf("round %d: %s", round, got)
		}
		if d := r.ctl.Status().History.Damaged; len(d) != 0 {
			t.Errorf("round %d: damaged: %v", round, d)
		}
		r.stop()
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.path), ".weir", ".tmp-*")); len(left) != 0 {
		t.Errorf("%v stayed", left)
	}
}

// killed runs a child for a moment, and returns the last version that it had
// been promised, with its bytes.
func killed(t *testing.T, path string) (version int, source string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childFile+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	var text strings.Builder
	for !strings.Contains(text.String(), "done") {
		line, err := in.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			t.Fatalf("the child: %v: %s", err, text.String())
		}
	}
	kill := time.AfterFunc(rand.N(60*time.Millisecond), func() { cmd.Process.Kill() })
	defer kill.Stop()
	rest, _ := io.ReadAll(in)
	text.Write(rest)
	cmd.Wait()
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "error") {
			t.Fatalf("the child: %s", line)
		}
		var n int
		var s string
		if k, _ := fmt.Sscanf(line, "done %d %q\n", &n, &s); k == 2 {
			version, source = n, s
		}
	}
	return version, source
}
