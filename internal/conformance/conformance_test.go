package conformance_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"weir/internal/conformance"
	"weir/internal/loop"
	"weir/internal/testkit"
)

// tolerated are cases in which Weir does not do what they ask for, and why that
// is right.
var tolerated = map[string]string{
	"hop-auth": "Authorization is for the other end: RFC 9110, section 7.6.1 forbids to name such fields in Connection, " +
		"and to take them out would turn a request that was allowed into one of nobody",
	"r-hop-cookie": "so is Set-Cookie: a client would lose its session",
}

// serve runs a Weir with one loop, so that all clients share the connections to
// the origin: what a case leaves on one of them the next client gets.
func serve(t *testing.T) conformance.Target {
	t.Helper()
	origin, err := conformance.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	w := testkit.StartOn(t, fmt.Sprintf(`
defaults:
  timeouts: {response: 600ms, client_header: 1500ms, client_body_idle: 1s}
listeners:
  - name: web
    address: "127.0.0.1:0"
    protocol: http
    routes:
      - {name: local, match: {path: /local}, respond: {status: 403, body: "no"}}
      - {name: all, pool: origin}
pools:
  origin:
    backends: [{address: "%s"}]
    health: {passive: {consecutive_errors: 0}}
`, origin.Addr()), loop.Options{Loops: 1})
	return conformance.Target{Address: w.Addr("web"), Origin: origin}
}

func TestWeir(t *testing.T) {
	target := serve(t)
	for _, c := range append(conformance.Requests(), conformance.Responses()...) {
		t.Run(c.ID, func(t *testing.T) { try(t, target, c) })
	}
}

// The same requests in pieces of five octets: where a line, a chunk or a CRLF
// is cut by the network must not matter.
func TestWeirInPieces(t *testing.T) {
	target := serve(t)
	target.Segment = 5
	for _, c := range conformance.Requests() {
		if len(c.Raw) < 600 {
			t.Run(c.ID, func(t *testing.T) { try(t, target, c) })
		}
	}
}

func try(t *testing.T, target conformance.Target, c conformance.Case) {
	v := conformance.Run(t.Context(), target, c)
	why, known := tolerated[c.ID]
	switch {
	case known && v.Kind == conformance.OK:
		t.Errorf("is tolerated (%s), but nothing is wrong any more", why)
	case !known && v.Kind != conformance.OK:
		t.Errorf("%v\n%s: %s\nwant %s: %s (%s)\n%.600q%.600q", v, c.Group, c.Title, c.Expect, c.Demand, c.Ref, c.Raw, c.Script)
	}
}

// The files say what the code understands, and demands are of cases that exist.
func TestData(t *testing.T) {
	words := []string{
		conformance.Reject, conformance.Reject400, conformance.Fix, conformance.Should, conformance.Accept,
		conformance.Incomplete, conformance.Any, conformance.Pass,
	}
	ids := make(map[string]bool)
	for _, c := range append(conformance.Requests(), conformance.Responses()...) {
		if ids[c.ID] {
			t.Errorf("there are two cases %s", c.ID)
		}
		ids[c.ID] = true
		if !slices.Contains(words, c.Expect) || c.Group == "" || c.Title == "" || c.Ref == "" || c.Demand == "" {
			t.Errorf("%s: expect %q, group %q, title %q, ref %q, demand %q", c.ID, c.Expect, c.Group, c.Title, c.Ref, c.Demand)
		}
	}
	for _, id := range conformance.Demands() {
		if !ids[id] {
			t.Errorf("there are demands of %s, and no such case", id)
		}
	}
	for id := range tolerated {
		if !ids[id] {
			t.Errorf("%s is tolerated, and there is no such case", id)
		}
	}
}

// A relay that looks at nothing fails as it must: what is judged is the proxy.
func TestJudge(t *testing.T) {
	origin, err := conformance.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	target := conformance.Target{Address: relay(t, origin.Addr()), Origin: origin}
	want := map[string]conformance.Kind{
		"cl-plus": conformance.Desync, "te-cl": conformance.Desync, "hd-sp-colon": conformance.Malformed,
		"hd-nul": conformance.Malformed, "host-none": conformance.Malformed, "rl-fragment": conformance.Malformed,
		"ck-lf-size": conformance.Malformed, "hop-named": conformance.Malformed, "sp-xff": conformance.Malformed,
		"r-hd-nul": conformance.Malformed, "r-cl-dup-diff": conformance.Malformed,
		"r-cl-short": conformance.OK, "r-cl": conformance.OK, "r-te-cl": conformance.Malformed,
	}
	for _, c := range append(conformance.Requests(), conformance.Responses()...) {
		kind, asked := want[c.ID]
		if !asked {
			continue
		}
		if v := conformance.Run(t.Context(), target, c); v.Kind != kind {
			t.Errorf("%s: %v, want %s", c.ID, v, kind)
		}
	}
}

// relay passes octets on, both ways, each connection on one of its own.
func relay(t *testing.T, to string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); running.Wait() })
	join := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		running.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.(*net.TCPConn).CloseWrite()
		})
		_, _ = io.Copy(client, server)
	}
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { join(c) })
		}
	})
	return ln.Addr().String()
}
