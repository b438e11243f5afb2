package health

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

// HTTP is the Check that sends one HTTP/1.1 request over a new connection: a
// kept one would go on answering on a backend that no longer accepts anybody.
// Redirects are answers like others and are not followed.
type HTTP struct {
	Path    string   // with a query if need be; "" is "/"
	Method  string   // "" is GET
	Host    string   // the Host header; "" is the address asked
	Headers []Header // sent too, those of one name in this order; not a Host, which has its own field
	Payload string   // the body of the request
	Expect  []Range  // statuses that pass; empty is 200-399
	Body    string   // must occur in the first 64 KiB of the answer; "" passes anything
	Port    int      // asked instead of the backend's own port; 0: the backend's own
	Hello   []byte   // sent before the request to the backend's own port: it may want a PROXY header
}

// Probe sends the request to addr and judges the answer.
func (c HTTP) Probe(ctx context.Context, addr string) error {
	res, err := c.exchange(ctx, addr)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return c.judge(res)
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

func (c HTTP) judge(res *http.Response) error {
	if !c.expected(res.StatusCode) {
		return fmt.Errorf("status %d, want %s", res.StatusCode, c.wanted())
	}
	if c.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxCheckBody))
	if bytes.Contains(body, []byte(c.Body)) {
		return nil // enough came, however the rest ended
	}
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	return fmt.Errorf("body does not contain %q", c.Body)
}

func (c HTTP) expected(status int) bool {
	for _, r := range c.ranges() {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

func (c HTTP) wanted() string {
	var all []string
	for _, r := range c.ranges() {
		all = append(all, r.String())
	}
	return strings.Join(all, ", ")
}

func (c HTTP) ranges() []Range {
	if len(c.Expect) == 0 {
		return []Range{{200, 399}}
	}
	return c.Expect
}
