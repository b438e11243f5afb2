package health_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/health"
)

// report asks c and says what came of it.
func report(t *testing.T, c health.Reporter, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := c.Report(ctx, addr)
	if err != nil {
		return err.Error()
	}
	return text(r)
}

func TestAgent(t *testing.T) {
	f := func(c health.Agent, addr, want string) {
		t.Helper()
		alone(t, func(t *testing.T) {
			if got := report(t, c, addr); !strings.Contains(got, want) {
				t.Errorf("%+v: %s, want %s", c, got, want)
			}
		})
	}

	// one line, however it comes; what follows is not read
	f(health.Agent{}, says(t, "75% up\n"), "75% up")
	f(health.Agent{}, says(t, "75% ", "maxconn:3", "0\r"), "75% maxconn:30")
	f(health.Agent{}, says(t, "up\n"+strings.Repeat("x", 1<<20)), "up")

	// on its own port, with something to say to it first
	echo := peer(t, echoFirst)
	port := number(echo[strings.LastIndexByte(echo, ':')+1:])
	f(health.Agent{Port: port, Send: []byte("drain 5%\n")}, "127.0.0.1:1", "5% drain")

	// half a line is none, and neither is one without end
	f(health.Agent{}, says(t, "maxconn:3"), `agent: answer "maxconn:3" is no whole line`)
	f(health.Agent{}, says(t, strings.Repeat("up ", 4<<10)), "is no whole line")
	f(health.Agent{}, says(t, "hello\n"), "means nothing")

	// over HTTP the body is the answer
	addr := backend(t, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/load":
			io.WriteString(w, `{"load":0.4}`)
		case "/words":
			io.WriteString(w, "drain 5%")
		case "/gone":
			w.WriteHeader(503)
			io.WriteString(w, "up")
		case "/long":
			io.WriteString(w, "up"+strings.Repeat(" ", 4<<10))
		}
	}).String()
	f(health.Agent{Path: "/load"}, addr, "60%")
	f(health.Agent{Path: "/words", Port: number(addr[strings.LastIndexByte(addr, ':')+1:])}, "127.0.0.1:1", "5% drain")
	f(health.Agent{Path: "/gone"}, addr, "agent: status 503, want 200")
	f(health.Agent{Path: "/long"}, addr, "more than 4 KiB")
}

// echoFirst sends back what comes first.
func echoFirst(conn net.Conn) {
	buf := make([]byte, 100)
	n, _ := conn.Read(buf)
	conn.Write(buf[:n])
}

func TestAgentProbe(t *testing.T) {
	if got := probe(t, health.Agent{}, says(t, "up 75%\n")); got != "pass" {
		t.Error(got)
	}
	if got, want := probe(t, health.Agent{}, says(t, "down #disk full\n")), "agent says down: disk full"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAgentEndsWithItsContext(t *testing.T) {
	addr := peer(t, func(net.Conn) { <-t.Context().Done() })
	for _, c := range []health.Agent{{}, {Path: "/"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := c.Probe(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
		cancel()
	}
}

// Beside a check an agent may add something. That it is not there is no failure.
func TestAdvised(t *testing.T) {
	pass, fail := health.Check(&script{answers: "+"}), health.Check(&script{answers: "-"})
	f := func(check health.Check, addr, wantReport, wantProbe string) {
		t.Helper()
		c := health.Advised{Check: check}
		if got := report(t, c, addr); got != wantReport {
			t.Errorf("report %q, want %q", got, wantReport)
		}
		if got := probe(t, c, addr); got != wantProbe {
			t.Errorf("probe %q, want %q", got, wantProbe)
		}
	}
	f(pass, says(t, "50%\n"), "50%", "pass")
	f(pass, says(t, "down #disk\n"), "down #disk", "agent says down: disk")
	f(pass, says(t, "nonsense\n"), "", "pass")
	f(pass, "127.0.0.1:1", "", "pass")
	f(fail, says(t, "up\n"), "scripted failure", "scripted failure")
}
