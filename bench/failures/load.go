package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// kind is what became of a request.
type kind uint8

const (
	good     kind = iota // answered by a backend, below 500
	made                 // answered by the proxy: a 502 or the like
	passedOn             // a 5xx of the backend
	cut                  // the connection ended without a whole answer
	timedOut             // the client has given up
	unsent               // the client had too many connections to send it
	kinds
)

// noBackend is sample.backend where no backend has answered.
const noBackend = -1

// sample is one request of a run.
type sample struct {
	due     time.Duration // since the start of the run
	late    time.Duration // it was sent: how busy the client's machine is
	took    time.Duration // from when it was due, not from when it was sent
	kind    kind
	backend int
}

// end is when the client knew what became of the request.
func (s sample) end() time.Duration { return s.due + s.took }

// maxConns bounds the client's connections. A request that would need one more
// is not sent, and counts as one that failed.
const maxConns = 4096

// load is an open loop: requests start at a constant rate, however long earlier
// ones take. What a stall makes late is counted from when it was due, so that
// nothing is left out.
type load struct {
	address string
	rate    float64       // requests a second
	length  time.Duration // of sending; the last ones are waited for
	timeout time.Duration // after which the client gives a request up

	dial  func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
	pause func(time.Duration)                                         // nil: the system's sleep

	start time.Time
	mu    sync.Mutex
	idle  []*clientConn // the latest last: it is used first
	open  int
}

// clientConn is a kept connection of the client.
type clientConn struct {
	net.Conn
	in *bufio.Reader
}

// dueAt is when request i of a rate is due. It is computed from the start each
// time, so that rounding does not add up.
func dueAt(i int, rate float64) time.Duration {
	return time.Duration(math.Round(float64(i) / rate * float64(time.Second)))
}

// count is how many requests are due within a length, the first at its start.
func count(rate float64, length time.Duration) int {
	n := int(math.Ceil(rate * length.Seconds()))
	for n > 0 && dueAt(n-1, rate) >= length { // where rounding went the other way
		n--
	}
	return n
}

// run sends everything and returns what became of it, in the order in which it
// was due. When ctx ends the rest is not sent.
func (l *load) run(ctx context.Context) []sample {
	if l.dial == nil {
		l.dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if l.pause == nil {
		l.pause = pause
	}
	samples := make([]sample, count(l.rate, l.length))
	l.start = time.Now()
	sent := 0
	var all sync.WaitGroup
	for i := range samples {
		due := dueAt(i, l.rate)
		if !l.wait(ctx, due) {
			break
		}
		sent++
		late := time.Since(l.start) - due
		all.Go(func() {
			samples[i] = l.request(ctx, due)
			samples[i].late = late
		})
	}
	all.Wait()
	for _, c := range l.idle {
		_ = c.Close()
	}
	l.idle = nil
	return samples[:sent]
}

// wait waits until due; false if ctx has ended.
func (l *load) wait(ctx context.Context, due time.Duration) bool {
	for ctx.Err() == nil {
		d := due - time.Since(l.start)
		if d <= 0 {
			return true
		}
		l.pause(min(d, 100*time.Millisecond))
	}
	return false
}

// request sends one request and waits for what becomes of it.
func (l *load) request(ctx context.Context, due time.Duration) sample {
	s := sample{due: due, backend: noBackend}
	ctx, cancel := context.WithDeadline(ctx, l.start.Add(due+l.timeout))
	defer cancel()
	c, err := l.take(ctx)
	if err == nil {
		err = l.exchange(ctx, c, &s)
	}
	s.took = time.Since(l.start) - due
	switch {
	case err == nil:
	case errors.Is(err, errTooMany):
		s.kind = unsent
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		s.kind = timedOut
	default:
		s.kind = cut
	}
	return s
}

var errTooMany = errors.New("too many connections")

// take gives an idle connection, or a new one.
func (l *load) take(ctx context.Context) (*clientConn, error) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		c := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		return c, nil
	}
	if l.open >= maxConns {
		l.mu.Unlock()
		return nil, errTooMany
	}
	l.open++
	l.mu.Unlock()
	c, err := l.dial(ctx, l.address)
	if err != nil {
		l.forget()
		return nil, err
	}
	return &clientConn{Conn: c, in: bufio.NewReader(c)}, nil
}

func (l *load) forget() {
	l.mu.Lock()
	l.open--
	l.mu.Unlock()
}

// exchange sends a request on c and reads its answer to the end.
func (l *load) exchange(ctx context.Context, c *clientConn, s *sample) error {
	keep, err := c.roundTrip(ctx, s)
	if err != nil || !keep {
		_ = c.Close()
		l.forget()
		return err
	}
	l.mu.Lock()
	l.idle = append(l.idle, c)
	l.mu.Unlock()
	return nil
}

const request = "GET / HTTP/1.1\r\nHost: failures\r\n\r\n"

func (c *clientConn) roundTrip(ctx context.Context, s *sample) (keep bool, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return false, err
		}
	}
	if _, err := io.WriteString(c, request); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	s.kind, s.backend = kindOf(resp.StatusCode, resp.Header.Get(backendName))
	return !resp.Close, nil
}

// kindOf sorts an answer: what has no backend's name is not what the client
// asked for, whatever its status.
func kindOf(status int, name string) (kind, int) {
	id, err := strconv.Atoi(name)
	switch {
	case err != nil:
		return made, noBackend
	case status >= 500:
		return passedOn, id
	}
	return good, id
}
