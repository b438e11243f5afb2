package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// countPatience bounds a question to a proxy about itself.
const countPatience = 5 * time.Second

// attempts is how many times the proxy has turned to a backend so far, whatever
// came of it, by its own account: dead backends cannot count.
func (r *running) attempts(ctx context.Context, proxy string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	switch proxy {
	case "weir":
		text, err := r.admin(ctx, "/v1/pools/backends")
		if err != nil {
			return 0, err
		}
		return weirAttempts(text)
	case "nginx":
		text, err := os.ReadFile(filepath.Join(r.Dir, "attempts"))
		if err != nil {
			return 0, err
		}
		return nginxAttempts(string(text)), nil
	}
	return haproxyStat(ctx, filepath.Join(r.Dir, "stats.sock"))
}

// admin asks Weir's admin API.
func (r *running) admin(ctx context.Context, path string) ([]byte, error) {
	socket := filepath.Join(r.Dir, "admin.sock")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weir"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return text, err
}

// weirAttempts adds up the requests of a pool's backends.
func weirAttempts(text []byte) (n int64, err error) {
	var pool struct {
		Backends []struct {
			Requests int64 `json:"requests"`
		} `json:"backends"`
	}
	if err := json.Unmarshal(text, &pool); err != nil {
		return 0, err
	}
	for _, b := range pool.Backends {
		n += b.Requests
	}
	return n, nil
}

// nginxAttempts counts the addresses in a log of $upstream_addr: one for each
// attempt, between commas and colons. Where nobody was asked it has the name of
// the upstream.
func nginxAttempts(log string) (n int64) {
	for field := range strings.FieldsFuncSeq(log, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		if _, _, err := net.SplitHostPort(field); err == nil && field != ":" {
			n++
		}
	}
	return n
}

// haproxyStat asks HAProxy's statistics socket.
func haproxyStat(ctx context.Context, socket string) (int64, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // it fails with the socket, which the next line notices
	}
	if _, err := io.WriteString(c, "show stat\n"); err != nil {
		return 0, err
	}
	return haproxyAttempts(c)
}

// haproxyAttempts adds up the servers' connection attempts and reuses. Each is an
// attempt: without an idle connection a request makes one.
func haproxyAttempts(stat io.Reader) (n int64, err error) {
	lines := csv.NewReader(stat)
	lines.FieldsPerRecord = -1
	head, err := lines.Read()
	if err != nil {
		return 0, err
	}
	server, connect, reuse := slices.Index(head, "svname"), slices.Index(head, "connect"), slices.Index(head, "reuse")
	if server < 0 || connect < 0 || reuse < 0 {
		return 0, fmt.Errorf("no svname, connect and reuse among %q", head)
	}
	for {
		row, err := lines.Read()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if len(row) <= max(server, connect, reuse) || row[server] == "FRONTEND" || row[server] == "BACKEND" {
			continue
		}
		for _, field := range []int{connect, reuse} {
			v, err := strconv.ParseInt(row[field], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s of %s is %q", head[field], row[server], row[field])
			}
			n += v
		}
	}
}

// queueLength is how many requests wait in Weir's queues, by its metrics; false
// if it does not say.
func (r *running) queueLength(ctx context.Context) (n int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	text, err := r.admin(ctx, "/metrics")
	if err != nil {
		return 0, false
	}
	v, ok := gauge(string(text), "weir_queue_length")
	return int(v), ok
}

// gauge adds up the series of a metric; false if there are none.
func gauge(text, name string) (sum float64, ok bool) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), name)
		if !found || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum, ok = sum+v, true
		}
	}
	return sum, ok
}
