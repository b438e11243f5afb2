package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestBenchCommand(t *testing.T) {
	var posts atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && r.ContentLength == 5 && r.Header.Get("X-A") == "b" {
			posts.Add(1)
		}
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer s.Close()
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := func(wantCode int, wantOut, wantErr string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		code := execute(t.Context(), append([]string{"bench"}, args...), nil, &out, &errs)
		if code != wantCode || !strings.Contains(out.String(), wantOut) || !strings.Contains(errs.String(), wantErr) {
			t.Errorf("weir bench %q: exit %d\n%s%s\nwant %d, %q, %q", args, code, &out, &errs, wantCode, wantOut, wantErr)
		}
	}
	f(0, "200 × 20", "", "-n", "20", "-c", "4", s.URL)
	f(0, "", "", "-n", "10", "-c", "2", "-H", "X-A: b", "--body", "hello", s.URL)
	f(0, "", "", "-n", "10", "-c", "2", "-H", "X-A: b", "--body-file", body, s.URL)
	if n := posts.Load(); n != 20 {
		t.Errorf("%d posts with body and header arrived, want 20", n)
	}
	f(0, "open loop at 200/s", "", "-d", "100ms", "--rate", "200", s.URL)
	// every answer is an error: that is a failure
	f(1, "status 5", "not one request succeeded", "-n", "5", s.URL+"/bad")
	f(1, "", "https is not supported", "-n", "5", "https://127.0.0.1/")
	f(1, "", "a run without end", "-d", "0s", s.URL)
	f(1, "", "-c must be at least 1", "-c", "0", s.URL)
	f(1, "", "no such file", "--body-file", body+"x", s.URL)
	f(1, "", "accepts 1 arg")

	var out bytes.Buffer
	execute(t.Context(), []string{"bench", "--json", "-n", "7", s.URL}, nil, &out, &out)
	var r struct {
		Answers int                `json:"answers"`
		Latency map[string]float64 `json:"latency"`
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Answers != 7 || r.Latency["p99"] <= 0 || r.Latency["p99"] > 60 {
		t.Errorf("JSON %s: %v", &out, err)
	}
}
