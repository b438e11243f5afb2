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

// HTTP is the Check that sends one HTTP/1.1 request over a new connection: a
// kept one would go on answering on a backend that no longer accepts anybody.
// Redirects are answers like others and are not followed.
type HTTP struct {
	Path   string  // with a query if need be; "" is "/"
	Method string  // "" is GET
	Host   string  // the Host header; "" is the address asked
	Expect []Range // statuses that pass; empty is 200-399
	Body   string  // must occur in the first 64 KiB of the answer; "" passes anything
	Port   int     // asked instead of the backend's own port; 0: the backend's own
	Hello  []byte  // sent before the request to the backend's own port: it may want a PROXY header
}

// Probe sends the request to addr and judges the answer.
func (c HTTP) Probe(ctx context.Context, addr string) error {
	addr = withPort(addr, c.Port)
	req, err := c.request(ctx, addr)
	if err != nil {
		return err
	}
	t := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dialHello(ctx, addr, c.Port, c.Hello) },
		DisableKeepAlives:      true,
		DisableCompression:     true, // Body is compared with what the backend says, not with a packed form of it
		MaxResponseHeaderBytes: maxCheckHeader,
	}
	res, err := t.RoundTrip(req) // not a Client: that one follows redirects
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return c.judge(res)
}

func (c HTTP) request(ctx context.Context, addr string) (*http.Request, error) {
	host := addr
	if strings.HasPrefix(addr, "unix:") {
		host = "localhost" // a socket has no name that a Host header could carry
	}
	path := c.Path
	if path == "" {
		path = "/"
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, "http://"+host+path, nil)
	if err != nil {
		return nil, fmt.Errorf("check request: %w", err)
	}
	if c.Host != "" {
		req.Host = c.Host
	}
	req.Header.Set("User-Agent", "weir-check")
	return req, nil
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
