package loop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// The portable implementation: goroutines do what blocks and send the loop
// mail about it. Everything else is the same engine.

// bell is the poller of a portable loop: it has nothing to wait for but mail.
type bell struct {
	l     *Loop
	ring  chan struct{}
	timer *time.Timer
}

func newBell(l *Loop) *bell {
	return &bell{l: l, ring: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
}

func (b *bell) add(c *Conn) error {
	c.pipe.start(c)
	return nil
}

func (b *bell) wait(timeout time.Duration) {
	switch {
	case timeout == 0:
		runtime.Gosched() // what a busy loop waits for is done by goroutines
		select {
		case <-b.ring:
		default:
		}
	case timeout < 0:
		<-b.ring
	default:
		b.timer.Reset(timeout)
		select {
		case <-b.ring:
		case <-b.timer.C:
		}
	}
	b.l.tick()
}

func (b *bell) wake() {
	select {
	case b.ring <- struct{}{}:
	default:
	}
}

func (b *bell) close() { b.timer.Stop() }

const pipeBuffer = 4 << 10

// pipe is the socket of a portable connection: a goroutine reads ahead, one
// buffer to hand out and one to fill, so that bytes and hang-ups are noticed while nobody reads.
type pipe struct {
	nc net.Conn

	mu     sync.Mutex // the reading goroutine, writing goroutines and the loop
	space  sync.Cond  // full was taken, or the pipe was closed
	full   []byte     // read and not yet handed out
	err    error      // what ended reading; comes after full
	closed bool

	ended chan struct{} // closed when the reading goroutine is gone
}

func newPipe(nc net.Conn) *pipe {
	p := &pipe{nc: nc, ended: make(chan struct{})}
	p.space.L = &p.mu
	return p
}

func (p *pipe) start(c *Conn) { c.l.g.wg.Go(func() { p.readAhead(c) }) }

func (p *pipe) readAhead(c *Conn) {
	defer close(p.ended)
	var buffers [2][]byte
	for i := 0; ; i ^= 1 {
		if buffers[i] == nil {
			buffers[i] = make([]byte, pipeBuffer)
		}
		n, err := p.nc.Read(buffers[i])
		p.mu.Lock()
		for n > 0 && len(p.full) > 0 && !p.closed {
			p.space.Wait()
		}
		switch {
		case n == 0:
		case len(p.full) == 0:
			p.full = buffers[i][:n]
		default: // closed: a detached connection takes both along
			p.full = append(bytes.Clone(p.full), buffers[i][:n]...)
		}
		closed := p.closed
		if !closed { // or it may be the deadline that detach set
			p.err = err
		}
		p.mu.Unlock()
		if closed {
			return
		}
		c.l.send(mail{op: opEvent, conn: c})
		if err != nil {
			return
		}
	}
}

// poll is the pipe's state as epoll would tell it.
func (p *pipe) poll() (in, hup, broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hup = p.err != nil
	return len(p.full) > 0 || hup, hup, hup && p.err != io.EOF
}

// peek says whether a read would find something, and whether that is an end.
func (p *pipe) peek() (readable, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended = len(p.full) == 0 && p.err != nil
	return ended || len(p.full) > 0, ended
}

func (p *pipe) recv(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.full) == 0 {
		if p.err != nil {
			return 0, bare(p.err)
		}
		return 0, errAgain
	}
	n := copy(b, p.full)
	p.full = p.full[n:]
	if len(p.full) == 0 {
		p.space.Signal()
	}
	return n, nil
}

// bare is the kernel's own error, without what package net wrapped around it.
func bare(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// write lends b to a goroutine and waits. What ends the wait early has to get
// b back before it may return.
func (p *pipe) write(c *Conn, co *coro, b []byte) (int, error) {
	var n int
	var failure, early error
	c.writable = false
	c.l.g.wg.Go(func() {
		n, failure = p.nc.Write(b)
		c.l.send(mail{op: opWrote, conn: c})
	})
	for !c.writable {
		if err := c.awaitWrite(co); err != nil && early == nil {
			early = err
			p.nc.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	co.moved += n
	if early != nil {
		p.nc.SetWriteDeadline(time.Time{})
		return n, early
	}
	if failure != nil {
		return n, c.fail("write", bare(failure))
	}
	return n, nil
}

// close frees what waits in the pipe. Nothing of it may be used any more.
func (p *pipe) close(reset bool) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.space.Broadcast()
	if t, ok := p.nc.(*net.TCPConn); ok && reset {
		t.SetLinger(0)
	}
	return p.nc.Close()
}

func (p *pipe) closeWrite() error {
	if w, ok := p.nc.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// detach stops reading ahead and gives the connection back. It blocks.
func (p *pipe) detach() net.Conn {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.space.Broadcast()
	p.nc.SetReadDeadline(time.Unix(1, 0))
	<-p.ended
	p.nc.SetReadDeadline(time.Time{})
	if len(p.full) == 0 {
		return p.nc
	}
	return &ahead{p.nc, io.MultiReader(bytes.NewReader(p.full), p.nc)}
}

// ahead is a detached connection of which something had been read.
type ahead struct {
	net.Conn
	rest io.Reader
}

// Read reads what was read ahead, then the connection.
func (a *ahead) Read(b []byte) (int, error) { return a.rest.Read(b) }

func (c *Conn) detachPortable() (net.Conn, error) {
	var nc net.Conn
	c.l.Task().Block(func() { nc = c.pipe.detach() })
	if err := c.fault(); err != nil { // the group has closed meanwhile
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// acceptPortable accepts until nl is closed.
func (ln *Listener) acceptPortable(nl net.Listener) {
	for {
		nc, err := nl.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return
		default: // no file descriptors, most likely
			select {
			case <-ln.g.stop:
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		ln.mu.RLock()
		ln.handOver(nc)
		ln.mu.RUnlock()
	}
}

// handOver gives an accepted connection to a loop. ln.mu is held.
func (ln *Listener) handOver(nc net.Conn) {
	if ln.closed.Load() {
		nc.Close()
		return
	}
	c := &Conn{l: ln.place(nil), ln: ln, pipe: newPipe(nc), slot: -1, writable: true}
	c.unix = ln.network == "unix"
	c.remote, c.local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	if !c.l.send(mail{op: opAdopt, conn: c}) {
		c.release()
	}
}

// dialPortable dials on a goroutine.
func (l *Loop) dialPortable(opening **Conn, a Addr, deadline time.Time) (*Conn, error) {
	network, address := "tcp", a.port.String()
	if a.path != "" {
		network, address = "unix", a.path
	}
	var nc net.Conn
	var err error
	l.Task().Block(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		l.g.wg.Go(func() { // a group that closes does not wait for the dial
			select {
			case <-l.g.stop:
				cancel()
			case <-ctx.Done():
			}
		})
		d := net.Dialer{Deadline: deadline, KeepAlive: 2 * time.Minute}
		nc, err = d.DialContext(ctx, network, address)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		return nil, dialError(a, bare(err))
	}
	c := &Conn{l: l, pipe: newPipe(nc), slot: -1, writable: true, unix: a.path != ""}
	c.remote, c.local = a.port, addrPort(nc.LocalAddr())
	if l.closing {
		nc.Close()
		return nil, dialError(a, net.ErrClosed)
	}
	if err := l.register(c); err != nil {
		nc.Close()
		return nil, dialError(a, err)
	}
	if opening != nil {
		*opening = c
	}
	return c, nil
}
