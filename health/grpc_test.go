package health_test

import (
	"bytes"
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

// grpcServer answers each service name with its answer. It is net/http speaking
// HTTP/2 in clear text, and the bytes of the messages are written out here.
func grpcServer(t *testing.T, answers map[string]http.HandlerFunc) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Method != "POST" || r.URL.Path != "/grpc.health.v1.Health/Check" ||
			r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" {
			t.Errorf("asked %s %s %s %v", r.Proto, r.Method, r.URL.Path, r.Header)
		}
		body, _ := io.ReadAll(r.Body)
		for name, answer := range answers {
			if bytes.Equal(body, request(name)) {
				w.Header().Set("Content-Type", "application/grpc")
				answer(w, r)
				return
			}
		}
		t.Errorf("no answer for %q", body)
	})
	done := make(chan struct{})
	go func() {
		s.Serve(ln)
		close(done)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return ln.Addr().String()
}

// request is HealthCheckRequest{service: name}, with the prefix of a message.
func request(name string) []byte {
	if name == "" {
		return []byte{0, 0, 0, 0, 0}
	}
	return append([]byte{0, 0, 0, 0, byte(2 + len(name)), 0x0a, byte(len(name))}, name...)
}

// message answers with the bytes of a message and a grpc-status in the trailer.
func message(body, status string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, body)
		if status != "" {
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
		}
	}
}

// header answers with a header alone.
func header(status int, pairs ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			w.Header().Set(pairs[i], pairs[i+1])
		}
		w.WriteHeader(status)
	}
}

func TestGRPC(t *testing.T) {
	cases := []struct {
		answer http.HandlerFunc
		want   string
	}{
		// SERVING, and with fields before and after it that came later
		{message("\x00\x00\x00\x00\x02\x08\x01", "0"), "pass"},
		{message("\x00\x00\x00\x00\x17\x12\x02ab\x08\x01\x18\x80\x01\x21abcdefgh\x2dabcd", "0"), "pass"},

		// all the others
		{message("\x00\x00\x00\x00\x00", "0"), "serving status UNKNOWN, want SERVING"},
		{message("\x00\x00\x00\x00\x02\x08\x02", "0"), "serving status NOT_SERVING, want SERVING"},
		{message("\x00\x00\x00\x00\x02\x08\x03", "0"), "serving status SERVICE_UNKNOWN, want SERVING"},
		{message("\x00\x00\x00\x00\x02\x08\x07", "0"), "serving status 7, want SERVING"},

		// the call failed, with an answer or with none
		{message("\x00\x00\x00\x00\x02\x08\x01", "14"), "grpc-status 14 (UNAVAILABLE)"},
		{message("\x00\x00\x00\x00\x02\x08\x01", ""), "without a grpc-status"},
		{header(200, "Grpc-Status", "5", "Grpc-Message", "no%20such%0Aservice"), "grpc-status 5 (NOT_FOUND): no such service"},
		{header(200, "Grpc-Status", "99", "Grpc-Message", "%zz"), "grpc-status 99 (unknown): %zz"},
		{header(200, "Grpc-Status", "-1"), "grpc-status -1 (unknown)"},
		{header(200, "Grpc-Status", "0"), "no HealthCheckResponse"},

		// what answers does not speak gRPC
		{header(503), "status 503, want 200"},
		{header(200, "Content-Type", "text/html"), `content type "text/html", want application/grpc`},

		// what it says is no message
		{message("\x01\x00\x00\x00\x02\x08\x01", "0"), "compressed"},
		{message("\x00\x00\x00\x00\x03\x08\x01", "0"), "no HealthCheckResponse"},
		{message("\x00\x00\x00\x00\x01\x08", "0"), "no HealthCheckResponse"},
		{message("\x00\x00\x00\x00\x03\x08\x01\x80", "0"), "no HealthCheckResponse"},
		{message("\x00\x00\x00\x00\x04\x08\x01\x12\x09", "0"), "no HealthCheckResponse"},
		{message("\x00\x00\x00\x00\x03\x08\x01\x13", "0"), "no HealthCheckResponse"},
		{message("\x00\x00\x00\x10\x00"+strings.Repeat("\x10\x01", 2048), "0"), "more than 4 KiB"},
	}
	for i, c := range cases {
		addr := grpcServer(t, map[string]http.HandlerFunc{"a.B": c.answer})
		alone(t, func(t *testing.T) {
			if got := probe(t, health.GRPC{Service: "a.B"}, addr); !strings.Contains(got, c.want) {
				t.Errorf("%d: %s, want %s", i, got, c.want)
			}
		})
	}
}

func TestGRPCAsksForWhatItIsTo(t *testing.T) {
	var host string
	addr := grpcServer(t, map[string]http.HandlerFunc{"": func(w http.ResponseWriter, r *http.Request) {
		host = r.Host
		message("\x00\x00\x00\x00\x02\x08\x01", "0")(w, r)
	}})
	f := func(c health.GRPC, asked, want string) {
		t.Helper()
		if got := probe(t, c, asked); got != "pass" || host != want {
			t.Errorf("%+v: %s, authority %s, want %s", c, got, host, want)
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	f(health.GRPC{}, addr, addr)
	f(health.GRPC{Authority: "a.example"}, addr, "a.example")
	f(health.GRPC{Port: number(port)}, "127.0.0.1:1", addr)
}

// Backends that speak HTTP/1 only, and ones that never end.
func TestGRPCOfOthers(t *testing.T) {
	addr := backend(t, "tcp", "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {}).String()
	if got := probe(t, health.GRPC{}, addr); got == "pass" {
		t.Error("a server of HTTP/1 passes")
	}
	endless := grpcServer(t, map[string]http.HandlerFunc{"": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := (health.GRPC{}).Probe(ctx, endless); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
}
