package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// event is one server-sent event.
type event struct {
	id, name string
	data     map[string]any
}

// listen opens the stream of events and returns a function that waits for the
// next one, at most ten seconds.
func (r *rig) listen(lastID string) (next func() event) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	r.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", r.url+"/v1/events", nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", lastID)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		r.Fatalf("content type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() event {
		r.Helper()
		var e event
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.data); err != nil {
					r.Fatalf("data %s: %v", value, err)
				}
			case "":
				if e.name != "" {
					return e
				}
			}
		}
		r.Fatalf("the stream ended: %v", lines.Err())
		return e
	}
}

// until skips events of other kinds.
func until(next func() event, name string) event {
	for {
		if e := next(); e.name == name {
			return e
		}
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t, nil)
	next := r.listen("")

	// what happened before is told first, then what happens
	if e := until(next, "applied"); e.data["version"] != 1.0 {
		t.Errorf("first event %v, want version 1", e.data)
	}
	r.do("PUT", "/v1/config", second, "X-Weir-Author", "ann").is(200)
	e := until(next, "applied")
	if e.data["version"] != 2.0 || e.data["author"] != "ann (127.0.0.1)" {
		t.Errorf("event %v, want version 2 by ann", e.data)
	}
	r.do("PUT", "/v1/config", broken).is(422)
	rejected := until(next, "rejected")

	// a client that comes back is told what it has missed, and no more
	if got := r.listen(e.id)(); got.id == e.id || got.name == "applied" {
		t.Errorf("after %s: %v", e.id, got)
	}
	// an ID of an earlier process, which had more events, means nothing here
	if got := until(r.listen("100000"), "rejected"); got.id != rejected.id {
		t.Errorf("after the ID of another process: %v", got)
	}
}
