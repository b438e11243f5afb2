package health

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
)

const (
	maxCheckBody   = 64 << 10 // how far into an answer Body is looked for
	maxCheckHeader = 64 << 10

	userAgent = "weir-check"
)

// Range is a span of status codes, both ends included.
type Range struct{ From, To int }

// String gives "200-399", or "204" for a span of one.
func (r Range) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// Header is one line of a request's header.
type Header struct{ Name, Value string }

// HTTP is the Check that sends one HTTP/1.1 request. Redirects are answers like
// others and are not followed.
//
// Probe asks over a new connection. A Prober whose Pace has a loop keeps the
// connection for the next probe, but not for ever, as seat says: a connection
// that is kept goes on answering on a backend that no longer accepts anybody.
type HTTP struct {
	Path    string   // with a query if need be; "" is "/"
	Method  string   // "" is GET
	Host    string   // the Host header; "" is the address asked
	Headers []Header // sent too, those of one name in this order; not a Host, which has its own field
	Payload string   // the body of the request
	Expect  []Range  // statuses that pass; empty is 200-399
	Body    string   // must occur in the first 64 KiB of the answer; "" passes anything
	Port    int      // asked instead of the backend's own port; 0: the backend's own
	Hello   []byte   // sent before the first request to the backend's own port: it may want a PROXY header
	Fresh   bool     // no connection is kept: each probe makes its own, and says so
}

// Probe sends the request to addr and judges the answer.
func (c HTTP) Probe(ctx context.Context, addr string) error {
	addr = withPort(addr, c.Port)
	c.Fresh = true
	q := new(inquiry)
	if err := q.prepare(c, addr); err != nil {
		return err
	}
	conn, err := dialHello(ctx, addr, c.Port, c.Hello)
	if err != nil {
		return err
	}
	defer conn.Close()
	return q.ask(ctx, conn, new(incoming)).err
}

// inquiry is an HTTP check of one address, ready to be made many times. Of ten
// thousand none is in the processor's cache when it is made: what it needs lies
// together.
type inquiry struct {
	message []byte  // the request as it is sent
	passes  []Range // statuses
	short   [240]byte
	HTTP
}

// prepare makes q the check c of addr.
func (q *inquiry) prepare(c HTTP, addr string) error {
	req, err := c.request(context.Background(), addr)
	if err != nil {
		return err
	}
	if err := validHeader(req.Header); err != nil {
		return err
	}
	req.Close = c.Fresh
	var message bytes.Buffer
	if err := req.Write(&message); err != nil {
		return fmt.Errorf("check request: %w", err)
	}
	q.message = append(q.short[:0], message.Bytes()...)
	q.passes, q.HTTP = c.ranges(), c
	return nil
}

// validHeader is the check that http.Transport makes and Request.Write does not.
func validHeader(h http.Header) error {
	for name, values := range h {
		if name == "" || strings.IndexFunc(name, func(r rune) bool { return !isToken(r) }) >= 0 {
			return fmt.Errorf("net/http: invalid header field name %q", name)
		}
		for _, v := range values {
			if strings.IndexFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
				return fmt.Errorf("net/http: invalid header field value for %q", name)
			}
		}
	}
	return nil
}

// isToken says whether r may occur in the name of a header (RFC 9110, 5.6.2).
func isToken(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// exchange sends the request and returns the answer. Closing its body closes the
// connection: a body without end is not read to one.
func (c HTTP) exchange(ctx context.Context, addr string) (*http.Response, error) {
	addr = withPort(addr, c.Port)
	req, err := c.request(ctx, addr)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dialHello(ctx, addr, c.Port, c.Hello) },
		DisableKeepAlives:      true,
		DisableCompression:     true, // Body is compared with what the backend says, not with a packed form of it
		MaxResponseHeaderBytes: maxCheckHeader,
	}
	return t.RoundTrip(req) // not a Client: that one follows redirects
}

func (c HTTP) request(ctx context.Context, addr string) (*http.Request, error) {
	path := c.Path
	if path == "" {
		path = "/"
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, "http://"+hostOf(addr)+path, strings.NewReader(c.Payload))
	if err != nil {
		return nil, fmt.Errorf("check request: %w", err)
	}
	if c.Host != "" {
		req.Host = c.Host
	}
	for _, h := range c.Headers {
		req.Header.Add(h.Name, h.Value)
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", userAgent)
	}
	return req, nil
}

// hostOf is addr as a URL can carry it: a socket has no name.
func hostOf(addr string) string {
	if strings.HasPrefix(addr, "unix:") {
		return "localhost"
	}
	return addr
}

// unexpected is what is wrong with a status.
func (q *inquiry) unexpected(status int) error {
	for _, r := range q.passes {
		if r.From <= status && status <= r.To {
			return nil
		}
	}
	return fmt.Errorf("status %d, want %s", status, q.wanted())
}

func (q *inquiry) wanted() string {
	var all []string
	for _, r := range q.passes {
		all = append(all, r.String())
	}
	return strings.Join(all, ", ")
}

var commonRanges = []Range{{200, 399}}

func (c HTTP) ranges() []Range {
	if len(c.Expect) == 0 {
		return commonRanges
	}
	return c.Expect
}

// lacks is what is wrong with a body of which said has come before err ended it.
func (q *inquiry) lacks(said []byte, err error) error {
	if bytes.Contains(said, []byte(q.Body)) {
		return nil // enough came, however the rest ended
	}
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	return fmt.Errorf("body does not contain %q", q.Body)
}
