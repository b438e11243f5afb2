package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for an answer; a test that hits it fails.
const patience = 15 * time.Second

// Client is one client connection that sends bytes as they are and reads
// answers to the byte. Its failures fail the test.
type Client struct {
	Conn net.Conn
	R    *bufio.Reader

	t testing.TB
}

// Dial connects to address ("host:port" or "unix:/path") until t ends.
func Dial(t testing.TB, address string) *Client {
	t.Helper()
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &Client{Conn: c, R: bufio.NewReader(c), t: t}
}

// Send writes text as it is.
func (c *Client) Send(text string) {
	c.t.Helper()
	_ = c.Conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("send %.60q: %v", text, err)
	}
}

// Reply is an answer as the client saw it.
type Reply struct {
	Status   int
	Proto    string   // "HTTP/1.1"
	Reason   string   // the text after the status
	Lines    []string // the header lines, in order and as they were spelled
	Body     string   // decoded
	Trailers []string // lines after a chunked body
	Framing  string   // "length", "chunked", "none" or "close"
	Err      error    // the connection ended or stalled inside the body
}

// Header is the first value of a field, empty if there is none.
func (r *Reply) Header(name string) string { return fieldValue(r.Lines, name) }

// Values are all values of a field, in order.
func (r *Reply) Values(name string) (values []string) {
	for _, l := range r.Lines {
		if n, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

// Persists says whether the answer lets the connection carry another request.
func (r *Reply) Persists() bool {
	connection := r.Header("Connection")
	if r.Err != nil || r.Framing == "close" || strings.EqualFold(connection, "close") {
		return false
	}
	return r.Proto != "HTTP/1.0" || strings.EqualFold(connection, "keep-alive")
}

// String is status and body, short enough for a failure message.
func (r *Reply) String() string {
	return fmt.Sprintf("%d %q %.200q err=%v", r.Status, r.Lines, r.Body, r.Err)
}

// Read reads the answer to a request of the method. Interim answers are
// answers, too. Nothing at all within 15 s, or the end of the connection,
// fails the test; so does a head that is none.
func (c *Client) Read(method string) *Reply {
	c.t.Helper()
	r, err := c.TryRead(method)
	if err != nil {
		c.t.Fatalf("read the answer to %s: %v", method, err)
	}
	return r
}

// TryRead is Read, returning what Read would fail the test with.
func (c *Client) TryRead(method string) (*Reply, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	head, err := readHead(c.R)
	if err != nil {
		return nil, fmt.Errorf("after %q: %w", head, err)
	}
	lines := headLines(string(head))
	if len(lines) == 0 {
		return nil, errors.New("an empty line instead of an answer")
	}
	r := &Reply{Lines: lines[1:]}
	var code string
	r.Proto, code, _ = strings.Cut(lines[0], " ")
	code, r.Reason, _ = strings.Cut(code, " ")
	if r.Status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(r.Proto, "HTTP/1.") {
		return nil, fmt.Errorf("status line %q", lines[0])
	}
	r.Framing = r.framing(method)
	if r.Framing != "none" {
		var body []byte
		body, r.Trailers, r.Err = readFramed(c.R, r.Lines, true)
		r.Body = string(body)
	}
	return r, nil
}

// framing says how the end of the body is known.
func (r *Reply) framing(method string) string {
	switch {
	case method == "HEAD" || r.Status < 200 || r.Status == 204 || r.Status == 304:
		return "none"
	case strings.EqualFold(r.Header("Transfer-Encoding"), "chunked"):
		return "chunked"
	case r.Header("Content-Length") != "":
		return "length"
	default:
		return "close"
	}
}

// Do sends a request head, made of the request line and header lines, and
// reads the answer. Host is added if no line is one.
func (c *Client) Do(requestLine string, lines ...string) *Reply {
	c.t.Helper()
	if fieldValue(lines, "Host") == "" {
		lines = append([]string{"Host: test"}, lines...)
	}
	c.Send(requestLine + " HTTP/1.1\r\n" + joined(lines) + "\r\n")
	method, _, _ := strings.Cut(requestLine, " ")
	return c.Read(method)
}

// Get asks for path on this connection.
func (c *Client) Get(path string, lines ...string) *Reply {
	c.t.Helper()
	return c.Do("GET "+path, lines...)
}

// Post sends body with its length.
func (c *Client) Post(path, body string, lines ...string) *Reply {
	c.t.Helper()
	c.Send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: test\r\n%sContent-Length: %d\r\n\r\n%s", path, joined(lines), len(body), body))
	return c.Read("POST")
}

// Closed waits for the server to end the connection, 15 s at most, and says
// whether it did so. Bytes that come before the end are a failure.
func (c *Client) Closed() bool {
	c.t.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(c.R)
	if len(rest) > 0 {
		c.t.Errorf("%.200q instead of the connection's end", rest)
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// Silent says whether nothing comes for d: no bytes, no end.
func (c *Client) Silent(d time.Duration) bool {
	_ = c.Conn.SetReadDeadline(time.Now().Add(d))
	_, err := c.R.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// CloseWrite says that no more requests come and keeps reading.
func (c *Client) CloseWrite() {
	c.t.Helper()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		c.t.Fatalf("%T cannot be closed by half", c.Conn)
	}
	if err := half.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// Reset ends the connection so that the server sees a reset.
func (c *Client) Reset() { reset(c.Conn) }

// Get asks address for path on a new connection.
func Get(t testing.TB, address, path string, lines ...string) *Reply {
	t.Helper()
	c := Dial(t, address)
	defer c.Conn.Close()
	return c.Get(path, lines...)
}
