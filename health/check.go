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

// opening opens a connection that no probe has used before, to the address it
// was made for.
type opening func(ctx context.Context) (net.Conn, error)

// dial is the opening of goroutines. A seat's is that of loops.
func dial(addr string) opening {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{KeepAlive: -1} // it lives for one probe
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, notOpened(err)
		}
		return conn, nil
	}
}

// notOpened is what a probe says of a connection that could not be opened.
func notOpened(err error) error {
	if outOfResources(err) {
		return fmt.Errorf("%w: connect: %w", ErrNotAsked, err)
	}
	return fmt.Errorf("connect: %w", err)
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

// dialHello opens a connection to addr and sends hello on it, unless it goes to a
// port that only answers checks.
func dialHello(ctx context.Context, addr string, port int, hello []byte) (net.Conn, error) {
	return dial(addr).hello(ctx, port, hello)
}

// hello is dialHello to the address of o.
func (o opening) hello(ctx context.Context, port int, hello []byte) (net.Conn, error) {
	conn, err := o(ctx)
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
	if l, ok := ctx.(*limit); ok {
		_ = conn.SetDeadline(l.at)
		return isDone
	}
	return context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // if it is closed, there is nothing to end
	})
}

func isDone() bool { return true }

// limit is the context of a probe on a loop. Nobody can wait for its end there,
// and nobody needs to: connections have deadlines, and who cancels closes them.
type limit struct{ at time.Time }

// Deadline implements context.Context.
func (l *limit) Deadline() (time.Time, bool) { return l.at, true }

// Done implements context.Context: there is nothing to wait for.
func (l *limit) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (l *limit) Err() error {
	if time.Now().Before(l.at) {
		return nil
	}
	return context.DeadlineExceeded
}

// Value implements context.Context.
func (l *limit) Value(any) any { return nil }

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
