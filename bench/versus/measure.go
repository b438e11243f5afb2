package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// result is one proxy's medians over the rounds. Times are microseconds of
// CPU for one request.
type result struct {
	Name      string  `json:"name"`
	User      float64 `json:"user_us"`
	System    float64 `json:"system_us"`
	CPU       float64 `json:"cpu_us"`
	Lowest    float64 `json:"lowest_cpu_us"`
	PerSecond float64 `json:"requests_per_second"`
	Failed    int64   `json:"failed"` // in all rounds
	Ratio     float64 `json:"ratio"`  // CPU to that of the first proxy in the same round
}

// load is what a load generator says of one run.
type load struct {
	requests, failed int64
	perSecond        float64
}

// series is what was measured of one proxy, a value a round.
type series struct {
	user, system, total, rate []float64
	failed                    int64
}

// rounds loads each target in turn, o.rounds times.
func rounds(ctx context.Context, o options, targets []target) ([]result, error) {
	all := make([]series, len(targets))
	for round := range o.rounds {
		for i, t := range targets {
			progress("round %d of %d: %s", round+1, o.rounds, t.name)
			if err := all[i].measure(ctx, o, t); err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	progress("")
	results := make([]result, len(targets))
	for i, s := range all {
		ratios := make([]float64, o.rounds)
		for r := range ratios {
			ratios[r] = s.total[r] / all[0].total[r]
		}
		results[i] = result{
			Name: targets[i].name, User: median(s.user), System: median(s.system),
			CPU: median(s.total), Lowest: slices.Min(s.total), PerSecond: median(s.rate),
			Failed: s.failed, Ratio: median(ratios),
		}
	}
	return results, nil
}

// measure loads t once.
func (s *series) measure(ctx context.Context, o options, t target) error {
	u0, s0, err := cpu(t.pid)
	if err != nil {
		return err
	}
	l, err := generate(ctx, o, t)
	if err != nil {
		return err
	}
	u1, s1, err := cpu(t.pid)
	if err != nil {
		return err
	}
	user, system := each(u1-u0, l.requests), each(s1-s0, l.requests)
	s.user, s.system = append(s.user, user), append(s.system, system)
	s.total, s.rate = append(s.total, user+system), append(s.rate, l.perSecond)
	s.failed += l.failed
	return nil
}

// progress overwrites one line, if somebody looks.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}

// each is d shared out over n requests, in microseconds.
func each(d time.Duration, n int64) float64 {
	return float64(d) / float64(time.Microsecond) / float64(n)
}

// median is the middle one; of an even number the upper one.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// cpu is the processor time that a process has used so far.
func cpu(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(b))
}

// parseStat reads utime and stime. The second field, the program's name, may
// contain anything, so counting starts behind its last parenthesis.
func parseStat(s string) (user, system time.Duration, err error) {
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("%q is not the text of a stat file", s)
	}
	u, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, 0, err
	}
	n, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(u) * tick, time.Duration(n) * tick, err
}

// generate loads t once.
func generate(ctx context.Context, o options, t target) (load, error) {
	url, core := "http://"+t.address+"/", strconv.Itoa(o.core)
	conns, length := strconv.Itoa(o.conns), strconv.Itoa(max(1, int(o.length.Seconds())))+"s"
	if loader() == "wrk" {
		out, err := exec.CommandContext(ctx, "taskset", "-c", core, "wrk", "-t1", "-c"+conns, "-d"+length, url).CombinedOutput()
		if err != nil {
			return load{}, fmt.Errorf("wrk: %w\n%s", err, out)
		}
		return parseWrk(string(out))
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", core, o.weir, "bench", "--json", "-c", conns, "-d", length, url).Output()
	if err != nil {
		return load{}, fmt.Errorf("weir bench: %w\n%s", err, out)
	}
	return parseBench(out)
}

// parseBench reads what weir bench --json prints.
func parseBench(out []byte) (load, error) {
	var r struct {
		Answers int64   `json:"answers"`
		Failed  int64   `json:"failed"`
		Rate    float64 `json:"answers_per_second"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return load{}, err
	}
	if r.Answers == 0 {
		return load{}, fmt.Errorf("not one answer:\n%s", out)
	}
	return load{requests: r.Answers, failed: r.Failed, perSecond: r.Rate}, nil
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkStatus   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSocket   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// parseWrk reads wrk's report.
func parseWrk(out string) (load, error) {
	n, rate := wrkRequests.FindStringSubmatch(out), wrkRate.FindStringSubmatch(out)
	if n == nil || rate == nil || n[1] == "0" {
		return load{}, fmt.Errorf("wrk counted no requests:\n%s", out)
	}
	var l load
	l.requests, _ = strconv.ParseInt(n[1], 10, 64) // digits, says the expression
	l.perSecond, _ = strconv.ParseFloat(rate[1], 64)
	for _, m := range [][]string{wrkStatus.FindStringSubmatch(out), wrkSocket.FindStringSubmatch(out)} {
		for _, v := range m[min(1, len(m)):] {
			k, _ := strconv.ParseInt(v, 10, 64)
			l.failed += k
		}
	}
	return l, nil
}
