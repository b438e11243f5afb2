package testkit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Backend is an HTTP/1 server on a raw socket whose manners the test chooses.
// It counts what reaches it.
type Backend struct {
	Conns    atomic.Int64 // accepted so far
	Open     atomic.Int64 // accepted and not closed yet
	Requests atomic.Int64 // request heads read so far

	manner  atomic.Pointer[Manner]
	network string
	address string

	mu      sync.Mutex // guards ln, conns and seen
	ln      net.Listener
	conns   map[net.Conn]struct{}
	seen    []string      // request heads, in order of arrival
	done    chan struct{} // closed by Close: manners that wait give up
	serving sync.WaitGroup
}

// Manner answers one request. What it returns decides about the connection:
// true keeps it for the next request, false closes it.
type Manner func(x *Exchange) (keep bool)

// NewBackend listens on a free port of 127.0.0.1 until t ends.
func NewBackend(t testing.TB, m Manner) *Backend {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0", m)
}

// NewUnixBackend listens on a Unix socket until t ends.
func NewUnixBackend(t testing.TB, path string, m Manner) *Backend {
	t.Helper()
	return listen(t, "unix", path, m)
}

func listen(t testing.TB, network, address string, m Manner) *Backend {
	t.Helper()
	b := &Backend{network: network, conns: make(map[net.Conn]struct{}), done: make(chan struct{})}
	b.manner.Store(&m)
	if err := b.serve(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// serve binds address and accepts from it.
func (b *Backend) serve(address string) error {
	ln, err := net.Listen(b.network, address)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.ln, b.address = ln, ln.Addr().String()
	b.mu.Unlock()
	b.serving.Go(func() { b.accept(ln) })
	return nil
}

// Addr is the backend's address as a configuration spells it.
func (b *Backend) Addr() string {
	if b.network == "unix" {
		return "unix:" + b.address
	}
	return b.address
}

// Become changes the manners, from the next request on.
func (b *Backend) Become(m Manner) { b.manner.Store(&m) }

// Heads returns the request heads received so far, each with its final empty
// line.
func (b *Backend) Heads() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.seen...)
}

// Last is the newest request head, empty if there was none.
func (b *Backend) Last() string {
	heads := b.Heads()
	if len(heads) == 0 {
		return ""
	}
	return heads[len(heads)-1]
}

// Stop refuses connections, and resets those there are, until Return.
func (b *Backend) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.ln.Close()
	for c := range b.conns {
		reset(c)
	}
}

// Return listens again, on the same address.
func (b *Backend) Return() error { return b.serve(b.address) }

// CloseIdle closes every connection cleanly, as a server does to connections
// that were idle for too long. Those with a request in work are cut, too.
func (b *Backend) CloseIdle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		_ = c.Close()
	}
}

// Close ends the backend and waits for its goroutines. Tests need not call it.
func (b *Backend) Close() {
	b.mu.Lock()
	select {
	case <-b.done:
	default:
		close(b.done)
	}
	_ = b.ln.Close()
	for c := range b.conns {
		_ = c.Close()
	}
	b.mu.Unlock()
	b.serving.Wait()
}

func (b *Backend) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		b.Conns.Add(1)
		if !b.track(c) {
			return
		}
		b.serving.Go(func() { b.converse(c) })
	}
}

// track makes c known to Close; false if the backend is closed already.
func (b *Backend) track(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.done:
		_ = c.Close()
		return false
	default:
	}
	b.Open.Add(1)
	b.conns[c] = struct{}{}
	return true
}

// converse serves the requests of one connection.
func (b *Backend) converse(c net.Conn) {
	defer func() {
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
		_ = c.Close()
		b.Open.Add(-1)
	}()
	r := bufio.NewReader(c)
	for n := 1; ; n++ {
		head, err := readHead(r)
		if err != nil {
			return
		}
		b.Requests.Add(1)
		b.mu.Lock()
		b.seen = append(b.seen, string(head))
		b.mu.Unlock()
		x := &Exchange{Conn: c, R: r, Head: string(head), N: n, Done: b.done}
		if !(*b.manner.Load())(x) {
			return
		}
		if err := x.finish(); err != nil {
			return
		}
	}
}

// readHead reads up to and with an empty line.
func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := r.ReadBytes('\n')
		head = append(head, line...)
		if err != nil {
			return head, err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return head, nil
		}
	}
}

// Exchange is one request at a Backend, whose head has been read.
type Exchange struct {
	Conn net.Conn
	R    *bufio.Reader   // what follows the head
	Head string          // as received, with the final empty line
	N    int             // counts the requests of this connection, from 1
	Done <-chan struct{} // closed when the backend ends

	bodyRead bool
}

// Method is the request's method.
func (x *Exchange) Method() string {
	m, _, _ := strings.Cut(x.Head, " ")
	return m
}

// Path is the request target.
func (x *Exchange) Path() string {
	if f := strings.Fields(x.Head); len(f) > 1 {
		return f[1]
	}
	return ""
}

// Header is the first value of a field, empty if there is none.
func (x *Exchange) Header(name string) string {
	return fieldValue(strings.Split(x.Head, "\r\n")[1:], name)
}

// Write sends text as it is; false means that nobody takes it any more.
func (x *Exchange) Write(text string) bool {
	_, err := io.WriteString(x.Conn, text)
	return err == nil
}

// Wait waits for d, or for the backend's end; false means the latter.
func (x *Exchange) Wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.Done:
		return false
	}
}

// Body reads the request's body, by its framing. A 100 Continue goes out
// first if the client waits for it.
func (x *Exchange) Body() ([]byte, error) {
	if x.bodyRead {
		return nil, errors.New("testkit: the body was read before")
	}
	x.bodyRead = true
	if strings.EqualFold(x.Header("Expect"), "100-continue") {
		x.Write("HTTP/1.1 100 Continue\r\n\r\n")
	}
	body, _, err := readFramed(x.R, strings.Split(x.Head, "\r\n")[1:], false)
	return body, err
}

// finish reads what the manner left of the body, so that the next request
// starts where it should.
func (x *Exchange) finish() error {
	if x.bodyRead || strings.EqualFold(x.Header("Expect"), "100-continue") {
		return nil
	}
	_, err := x.Body()
	return err
}

// readFramed reads a message body: chunked, by length, or to the end of the
// connection if toEnd says that this is what neither of them means.
func readFramed(r *bufio.Reader, lines []string, toEnd bool) (body []byte, trailers []string, err error) {
	if strings.EqualFold(fieldValue(lines, "Transfer-Encoding"), "chunked") {
		return readChunked(r)
	}
	if v := fieldValue(lines, "Content-Length"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, nil, fmt.Errorf("testkit: Content-Length %q", v)
		}
		body = make([]byte, n)
		m, err := io.ReadFull(r, body)
		return body[:m], nil, err
	}
	if toEnd {
		body, err = io.ReadAll(r)
	}
	return body, nil, err
}

// readChunked reads chunks and the trailer section.
func readChunked(r *bufio.Reader) (body []byte, trailers []string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return body, nil, noEnd(err)
		}
		digits, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 40)
		if err != nil {
			return body, nil, fmt.Errorf("testkit: chunk size %q", line)
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n+2) // with the line end
		m, err := io.ReadFull(r, chunk)
		body = append(body, chunk[:min(m, int(n))]...)
		if err != nil {
			return body, nil, noEnd(err)
		}
	}
	tail, err := readHead(r)
	if err != nil {
		return body, nil, noEnd(err)
	}
	return body, headLines(string(tail)), nil
}

// noEnd is err inside a message, where a clean end of the stream is none.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// headLines splits a head into its lines, without the empty one at its end.
func headLines(head string) []string {
	head = strings.TrimRight(head, "\r\n")
	if head == "" {
		return nil
	}
	lines := strings.Split(head, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return lines
}

// fieldValue is the first value of a field among lines.
func fieldValue(lines []string, name string) string {
	for _, l := range lines {
		if n, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// reset closes c so that its peer sees a reset and not an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
