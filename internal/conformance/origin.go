package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Origin is the server behind the proxy: it reads strictly, keeps what it got,
// and answers each request with that request's own method and target, so that
// an answer can be told from another's.
type Origin struct {
	ln      net.Listener
	serving sync.WaitGroup
	ended   chan struct{} // closed by Close: scripts that wait give up

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]struct{}
	cases  int        // numbers the paths of cases
	seen   []*Request // since the case began
	path   string     // requests for this path, but for what follows on them,
	script []string   // are answered by this
	played chan struct{}
}

// NewOrigin listens on a free port of 127.0.0.1 until Close.
func NewOrigin() (*Origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &Origin{ln: ln, ended: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	o.serving.Go(o.accept)
	return o, nil
}

// Addr is where it listens.
func (o *Origin) Addr() string { return o.ln.Addr().String() }

// Close ends all connections and waits for the goroutines.
func (o *Origin) Close() {
	close(o.ended)
	_ = o.ln.Close()
	o.mu.Lock()
	for c := range o.conns {
		_ = c.Close()
	}
	o.mu.Unlock()
	o.serving.Wait()
}

// begin forgets what was seen and takes the script of the next case. The path
// is the case's own; played is closed when the script has been played once.
func (o *Origin) begin(id string, script []string) (path string, played <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cases++
	o.path, o.script, o.seen = fmt.Sprintf("/c%d-%s", o.cases, id), script, nil
	o.played = make(chan struct{})
	return o.path, o.played
}

// requests are those since the case began.
func (o *Origin) requests() (list []Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.seen {
		list = append(list, *r)
	}
	return list
}

// open is the number of connections.
func (o *Origin) open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

func (o *Origin) accept() {
	for {
		c, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns[c] = struct{}{}
		o.mu.Unlock()
		select {
		case <-o.ended: // Close may have looked before
			_ = c.Close()
		default:
		}
		o.serving.Go(func() { o.converse(c) })
	}
}

func (o *Origin) converse(c net.Conn) {
	defer func() {
		_ = c.Close()
		o.mu.Lock()
		delete(o.conns, c)
		o.mu.Unlock()
	}()
	r := bufio.NewReaderSize(c, 64<<10)
	for o.one(c, r) {
	}
}

// one reads a request and answers it; false ends the connection.
func (o *Origin) one(c net.Conn, r *bufio.Reader) bool {
	m, err := readHead(r)
	entry := new(Request)
	if err != nil {
		if errors.Is(err, errBroken) {
			o.note(entry, m, false)
		}
		return false
	}
	o.note(entry, m, false)
	script, played := o.scriptFor(m.target)
	if len(script) > 0 && script[0] == "@EARLY@" {
		return o.play(c, r, script[1:], played)
	}
	if m.waits() && len(script) == 0 {
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	err = m.readBody()
	o.note(entry, m, err == nil)
	switch {
	case err != nil:
		return false
	case len(script) > 0:
		return o.play(c, r, script, played)
	}
	return o.answer(c, m)
}

// note keeps what is known of a request by now.
func (o *Origin) note(entry *Request, m *incoming, whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if *entry = m.seen(whole); !slices.Contains(o.seen, entry) {
		o.seen = append(o.seen, entry)
	}
}

// scriptFor is the script of the case, if the target is the case's own.
func (o *Origin) scriptFor(target string) (script []string, played chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path == "" || !strings.Contains(target, o.path) || isProbe(target) {
		return nil, nil
	}
	return o.script, o.played
}

// After a case two plain requests look what it has left behind: one on the same
// connection, one of another client.
const same, next = "/same", "/next"

func isProbe(target string) bool {
	return strings.HasSuffix(target, same) || strings.HasSuffix(target, next)
}

// asked is the field by which an answer names its request.
const asked = "X-Asked"

// askedName is that name, on one line whatever the target is.
func askedName(method, target string) string {
	return method + " " + strings.Trim(strconv.QuoteToASCII(target), `"`)
}

// answer tells the request back. CONNECT is refused, for behind a 200 anything
// goes; the connection of a request that checks on the others is not used again.
func (o *Origin) answer(c net.Conn, m *incoming) bool {
	name := askedName(m.method, m.target)
	status, connection := "200 OK", ""
	if m.method == "CONNECT" {
		status = "405 Method Not Allowed"
	}
	last := strings.HasSuffix(m.target, next) || m.proto == "HTTP/1.0"
	if last {
		connection = "Connection: close\r\n"
	}
	text := fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n%s: %s\r\n\r\n", status, connection, len(name), asked, name)
	if m.method != "HEAD" {
		text += name
	}
	_, err := io.WriteString(c, text)
	return err == nil && !last
}
