// Package health finds out whether an address is fit to serve: what a check
// is, how many results make a verdict, and when to ask again.
//
// It owns the probe goroutines and the streak of results behind each verdict.
// It does not know pools, balancing or what happens to a backend that is down.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Check probes one address once. Probe returns nil if the address is healthy,
// and otherwise what a person should read about it. It returns soon after ctx
// ends. addr is "127.0.0.1:80", "[::1]:80" or "unix:/run/app.sock". A Check is
// used by many goroutines at once and holds no state of a probe.
type Check interface {
	Probe(ctx context.Context, addr string) error
}

// Reporter is a Check whose addresses have more to say of themselves than that
// they answer. The error is about the asking: that nobody was there, or that
// nobody could make sense of the answer. Whether the answer is a failure is in
// the Report.
type Reporter interface {
	Report(ctx context.Context, addr string) (Report, error)
}

// ErrNotAsked is in the error of a probe that could not be made for a reason of
// our own: no descriptor left, too many commands running. It says nothing about
// the backend, and the Prober does not count it.
var ErrNotAsked = errors.New("not asked")

// dial opens a connection that no probe has used before.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	d := net.Dialer{KeepAlive: -1} // it lives for one probe
	conn, err := d.DialContext(ctx, network, addr)
	if outOfResources(err) {
		return nil, fmt.Errorf("%w: connect: %w", ErrNotAsked, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// outOfResources reports whether err is about this process or its machine, and
// not about who was to be asked.
func outOfResources(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// dialHello opens a connection and sends hello on it, unless it goes to a port
// that only answers checks.
func dialHello(ctx context.Context, addr string, port int, hello []byte) (net.Conn, error) {
	conn, err := dial(ctx, addr)
	if err != nil || port != 0 || len(hello) == 0 {
		return conn, err
	}
	defer untilDone(ctx, conn)()
	if _, err := conn.Write(hello); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect: %w", cause(ctx, err))
	}
	return conn, nil
}

// untilDone makes what happens on conn fail once ctx is done, until stop is called.
func untilDone(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // if it is closed, there is nothing to end
	})
}

// cause is why ctx is done, if that is what made err, and else err.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// readUntil reads from r until enough is content with what there is so far, of
// which all from fresh on is new. It reads no more than limit bytes; not to have
// enough in them is no error, and neither is the end of r.
func readUntil(r io.Reader, limit int, enough func(said []byte, fresh int) bool) (said []byte, found bool, err error) {
	for len(said) < limit {
		said = slices.Grow(said, min(512, limit-len(said)))
		fresh := len(said)
		n, err := r.Read(said[fresh:min(cap(said), limit)])
		said = said[:fresh+n]
		if n > 0 && enough(said, fresh) {
			return said, true, nil
		}
		if err == io.EOF {
			return said, false, nil
		}
		if err != nil {
			return said, false, err
		}
	}
	return said, false, nil
}

// oneLine makes what somebody else wrote fit for an error: one line of at most
// limit bytes, without control characters.
func oneLine(s string, limit int) string {
	s = strings.ToValidUTF8(s[:min(len(s), limit)], "")
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) })
	return strings.Join(words, " ")
}

// withPort returns addr with its port replaced, for backends that answer
// checks on a port of their own.
func withPort(addr string, port int) string {
	if port == 0 || strings.HasPrefix(addr, "unix:") {
		return addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // the dial will say what is wrong with it
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
