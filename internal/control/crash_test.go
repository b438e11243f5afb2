package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	origin := control.Origin{Kind: "api"}
	if _, err := c.Thaw(ctx, origin); !errors.Is(err, control.ErrNotFrozen) {
		exitIf(err)
	}
	for i := 0; ; i++ {
		fmt.Println("weighing", i)
		exitIf(c.Weigh("api", "127.0.0.1:1", i, origin))
		fmt.Println("weighed", i)
		if i%5 == 4 {
			_, err := c.Freeze(ctx, time.Hour, "again", origin)
			exitIf(err)
			fmt.Println("frozen")
			_, err = c.Thaw(ctx, origin)
			exitIf(err)
		}
		version, _ := c.Config()
		fmt.Println("next", version)
		var v control.Verdict
		if i%4 == 3 {
			v, err = c.Rollback(ctx, 0, origin)
		} else {
			var opts control.ApplyOptions
			if i%3 == 0 {
				opts.Confirm = time.Hour
			}
			v, err = c.ApplyWith(ctx, []byte(crashing(fmt.Sprint(os.Getpid(), " ", i))), origin, opts)
		}
		exitIf(err)
		if v.Result != control.Applied {
			exitIf(fmt.Errorf("%+v", v))
		}
		_, source := c.Config()
		fmt.Printf("done %d %q\n", v.Version, source)
	}
}

// crashing is a configuration with a backend to say something of.
func crashing(text string) string {
	return saying(text) + "pools: {api: {backends: [{address: \"127.0.0.1:1\"}]}}\n"
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
	r := newRig(t, crashing("one"))
	for round := range rounds {
		version, source, weights := killed(t, r.path)
		r.start()
		if o := r.ctl.Overrides(); len(o) != 1 || !slices.Contains(weights, o[0].Value) {
			t.Errorf("round %d: overrides %+v, promised was a weight of %q", round, o, weights)
		}
		if w := r.ctl.Status().Warnings; strings.Contains(strings.Join(w, " "), "damaged") {
			t.Errorf("round %d: %q", round, w)
		}
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
// been promised, with its bytes, and what the weight may be: the last that was
// promised, or one that was being set.
func killed(t *testing.T, path string) (version int, source string, weights []string) {
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
		if w, ok := strings.CutPrefix(line, "weighing "); ok {
			weights = append(weights, strings.TrimSpace(w))
		} else if strings.HasPrefix(line, "weighed ") {
			weights = weights[len(weights)-1:]
		}
		var n int
		var s string
		if k, _ := fmt.Sscanf(line, "done %d %q\n", &n, &s); k == 2 {
			version, source = n, s
		}
	}
	return version, source, weights
}
