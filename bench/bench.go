// Package bench is the load generator behind `weir bench`, and the
// side-by-side runs against other proxies.
//
// It speaks HTTP/1.1 over plain TCP, sends the same bytes again and again and
// reads just enough of an answer to know where it ends. It knows nothing of
// Weir: what it measures could be any server.
package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options says what to send, how much of it and for how long.
type Options struct {
	URL    string   // http://host[:port]/path?query
	Method string   // empty: GET, or POST when there is a body
	Header []string // "Name: value"; Host replaces the one made from URL
	Body   []byte   // sent with Content-Length

	Connections int           // at most this many requests at once; 0: 64
	Duration    time.Duration // no request starts later than this; 0: no such end
	Requests    int64         // no more requests than this; 0: no such end

	// Rate makes the loop open: requests start at this many a second, whether
	// or not earlier ones have been answered, as long as a connection is free.
	// 0 is the closed loop: each connection sends as soon as it may.
	Rate float64

	// Timeout bounds the connect and, separately, each request; 0: 10 s.
	Timeout time.Duration

	// Progress is called about once a second with what happened since the
	// last call, from one goroutine. Nil: nobody wants to know.
	Progress func(Progress)

	// Dial replaces net.Dialer, for tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Progress is what happened in one interval.
type Progress struct {
	Elapsed  time.Duration // since the start of the run
	Interval time.Duration // that the rest is about
	Answers  int64         // complete answers, whatever their status
	Failed   int64         // requests that count as errors
	P50, P99 time.Duration // of the latency
}

// defaults of Options; the zero value of each field means them.
const (
	defaultConnections = 64
	defaultTimeout     = 10 * time.Second
)

// target is Options.URL taken apart, and the bytes of the one request.
type target struct {
	address string // host:port to dial
	request []byte
	head    bool // HEAD: the answer has no body whatever its header says
}

// errHTTPS is worth its own words: it is the first thing that people try.
var errHTTPS = errors.New("https is not supported yet; bench speaks plain http://")

// resolve checks o, fills in its defaults and makes the request.
func (o *Options) resolve() (target, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return target{}, err
	}
	switch {
	case u.Scheme == "https":
		return target{}, errHTTPS
	case u.Scheme != "http":
		return target{}, fmt.Errorf("%q is not a URL of the form http://host:port/path", o.URL)
	case u.Host == "":
		return target{}, fmt.Errorf("%q names no host; want http://host:port/path", o.URL)
	case o.Connections < 0 || o.Requests < 0 || o.Duration < 0 || o.Timeout < 0 || o.Rate < 0:
		return target{}, errors.New("connections, requests, duration, timeout and rate must not be negative")
	case o.Rate > 0 && float64(time.Second)/o.Rate < 1:
		return target{}, fmt.Errorf("a rate of %g is more than one request a nanosecond", o.Rate)
	}
	o.fill()
	req, err := o.request(u)
	return target{address: address(u), request: req, head: o.Method == "HEAD"}, err
}

// fill puts defaults where nothing was said.
func (o *Options) fill() {
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Requests > 0 {
		o.Connections = int(min(int64(o.Connections), o.Requests))
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Method == "" {
		o.Method = "GET"
		if len(o.Body) > 0 {
			o.Method = "POST"
		}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
}

// address is what to dial for u.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// request writes the bytes that every request of the run consists of.
func (o *Options) request(u *url.URL) ([]byte, error) {
	if strings.ContainsAny(o.Method, " \r\n\t") {
		return nil, fmt.Errorf("%q is not a method", o.Method)
	}
	host, lines := u.Host, ""
	for _, h := range o.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(h, "\r\n") {
			return nil, fmt.Errorf("%q is not a header line; want \"Name: value\"", h)
		}
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			host = value
			continue
		}
		lines += name + ": " + value + "\r\n"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-bench\r\n%s", o.Method, u.RequestURI(), host, lines)
	if len(o.Body) > 0 || o.Method == "POST" || o.Method == "PUT" {
		b.WriteString("Content-Length: " + strconv.Itoa(len(o.Body)) + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(o.Body)
	return b.Bytes(), nil
}
