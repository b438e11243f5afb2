package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// How long a case waits. Only cases that fail wait for patience or closing.
const (
	patience = 2 * time.Second        // for a decision
	moment   = 100 * time.Millisecond // for what must not come: an end of what has none
	closing  = 500 * time.Millisecond // for the end of a connection that must end
	pause    = 30 * time.Millisecond  // @PAUSE@
)

// Target is a proxy to try cases on. It passes every request on to the Origin,
// over HTTP/1.1 connections that it keeps and that all its clients share; adds
// X-Forwarded-For with the client's address at its end; refuses by itself, with
// a 403, what is below /local; and gives a silent origin less than a second.
// Cases on one Target run one after the other.
type Target struct {
	Address string // host:port
	Origin  *Origin
	Segment int // request cases are sent in pieces of so many octets; 0: in one
}

// Run tries one case.
func Run(ctx context.Context, t Target, c Case) Verdict {
	x := &trial{t: t, c: c, method: "GET"}
	script := make([]string, len(c.Script))
	for i, s := range c.Script {
		script[i] = expand(s)
	}
	var played <-chan struct{}
	x.path, played = t.Origin.begin(c.ID, script)
	if err := x.converse(ctx, played); err != nil {
		return Verdict{Slow, Refused, err.Error()}
	}
	x.requests = slices.DeleteFunc(t.Origin.requests(), func(r Request) bool { return isProbe(r.Target) })
	return x.judge()
}

// trial is one run of a case, and what came of it.
type trial struct {
	t        Target
	c        Case
	path     string // of the case's own
	sent     string // what the client sent
	method   string // of its first request
	client   string // its address
	answers  []*Answer
	wrong    []string // what the client got that was no answer
	closed   bool     // the proxy ended the connection
	poisoned string   // somebody got what was not theirs
	requests []Request
}

// converse sends the case's message, reads what comes, and looks what the case
// has left for the next request of this client and of another.
func (x *trial) converse(ctx context.Context, played <-chan struct{}) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", x.t.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	x.client, _, _ = net.SplitHostPort(conn.LocalAddr().String())
	parts := x.fill()
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.send(conn, parts)
	}()
	r := bufio.NewReaderSize(conn, 64<<10)
	x.collect(conn, r)
	if x.c.isResponse() {
		wait(played, patience)
	}
	x.askAgain(conn, r, done)
	_ = conn.Close()
	<-done
	x.letGo()
	return x.askElsewhere(ctx)
}

// letGo gives the proxy time to drop what its client has left unfinished: it
// must not be finished on the client's behalf.
func (x *trial) letGo() {
	for end := time.Now().Add(closing); x.c.Expect == Incomplete && len(x.t.Origin.requests()) > 0; time.Sleep(2 * time.Millisecond) {
		if x.t.Origin.open() == 0 || time.Now().After(end) {
			return
		}
	}
}

// fill puts the target's names into the message and cuts it where it pauses.
func (x *trial) fill() []string {
	_, port, _ := net.SplitHostPort(x.t.Origin.Addr())
	text := strings.NewReplacer("@H@", x.t.Address, "@P@", x.path, "@OPORT@", port).Replace(x.c.request())
	parts := strings.Split(text, "@PAUSE@")
	for i := range parts {
		parts[i] = expand(parts[i])
	}
	x.sent = strings.Join(parts, "")
	if word, _, found := strings.Cut(x.sent, " "); found {
		x.method = word
	}
	return parts
}

// send writes the parts. That the proxy does not take them all is its answer.
func (x *trial) send(conn net.Conn, parts []string) {
	_ = conn.SetWriteDeadline(time.Now().Add(2 * patience))
	for i, text := range parts {
		if i > 0 {
			time.Sleep(pause)
		}
		size := len(text)
		if x.t.Segment > 0 && len(text) < 4096 {
			size = x.t.Segment
		}
		for piece := range slices.Chunk([]byte(text), max(1, size)) {
			if _, err := conn.Write(piece); err != nil {
				return
			}
			if len(piece) < len(text) {
				time.Sleep(50 * time.Microsecond) // so that it leaves alone
			}
		}
	}
}

// collect reads answers until there is a decision: as many as there can be, or
// an error, or the connection's end.
func (x *trial) collect(conn net.Conn, r *bufio.Reader) {
	wait := patience
	if x.c.Expect == Incomplete {
		wait = moment
	}
	for len(x.answers) < max(1, x.c.Requests+x.c.more.Own) {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		a, err := readAnswer(r, x.method == "HEAD" && len(x.answers) == 0)
		if a != nil {
			x.answers = append(x.answers, a)
		}
		switch {
		case isTimeout(err):
			return
		case errors.Is(err, errBroken):
			x.awaitEnd(conn, r)
			return
		case err != nil:
			x.closed = true
			return
		case a.Status == 101:
			return
		case a.Closes, x.c.isResponse(), x.isRefusal(a) && x.c.more.Own == 0, x.mustClose() != "":
			x.settle(conn, r, a)
			return
		}
		if wait = patience; x.c.Expect != Accept {
			wait = moment // there may be no more requests in it
		}
	}
}

// settle waits for the connection's end, if it has to come.
func (x *trial) settle(conn net.Conn, r *bufio.Reader, a *Answer) {
	if a.Closes || x.isRefusal(a) && x.invalid() || x.mustClose() != "" {
		x.awaitEnd(conn, r)
	}
}

// awaitEnd reads to the connection's end. Octets before it are no answer.
func (x *trial) awaitEnd(conn net.Conn, r *bufio.Reader) {
	_ = conn.SetReadDeadline(time.Now().Add(closing))
	rest, err := io.ReadAll(r)
	x.closed = !isTimeout(err)
	if len(rest) > 0 && !slices.ContainsFunc(x.answers, func(a *Answer) bool { return len(a.Wrong) > 0 }) {
		x.wrong = append(x.wrong, fmt.Sprintf("%.80q behind the last answer", rest))
	}
}

// askAgain sends a plain request on the same connection, if it is as good as
// new. A refusal is no fault: a message may have had something behind its end.
func (x *trial) askAgain(conn net.Conn, r *bufio.Reader, sent <-chan struct{}) {
	if x.closed || len(x.answers) == 0 {
		return
	}
	if a := x.answers[len(x.answers)-1]; !a.Whole || a.Status == 101 {
		return
	}
	wait(sent, patience)
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", x.path, same, x.t.Address)
	a, err := readAnswer(r, false)
	switch {
	case isTimeout(err):
		x.poisoned = "the client's next request gets no answer"
	case err == nil && (a.Status == 200 || len(a.Wrong) > 0) && a.Asked != "GET "+x.path+same:
		x.poisoned = fmt.Sprintf("the client's next request is answered by %d %.60q %q", a.Status, a.Body, a.Wrong)
	}
}

// askElsewhere is the next client, and the one after it as long as the proxy
// keeps connections to the origin: the last request of each is answered with
// their end, so that the next case finds none.
func (x *trial) askElsewhere(ctx context.Context) error {
	for range 3 {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", x.t.Address)
		if err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", x.path, next, x.t.Address)
		a, err := readAnswer(bufio.NewReader(conn), false)
		_ = conn.Close()
		switch {
		case a == nil:
			x.poisoned = fmt.Sprintf("the next client gets no answer: %v", err)
		case a.Asked != "GET "+x.path+next:
			x.poisoned = fmt.Sprintf("the next client is answered by %d %.60q %q", a.Status, a.Body, a.Wrong)
		}
		if x.poisoned != "" || x.t.Origin.open() == 0 {
			break
		}
	}
	return nil
}

// isRefusal says whether the proxy itself answered with an error.
func (x *trial) isRefusal(a *Answer) bool { return a.Status >= 400 && a.Asked == "" }

func wait(done <-chan struct{}, limit time.Duration) {
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
