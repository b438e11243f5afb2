package loop

import "os"

// Watcher is told of a listener's connections: Opened when one has been
// accepted, Closed once when it is gone. Both run on the connection's loop, so
// on several loops at the same time, and must not park.
type Watcher interface {
	Opened(c *Conn)
	Closed(c *Conn)
}

// Watch makes w hear of every connection. It is called before Serve. The
// pointer is atomic for the sake of what w points to: a connection comes through
// the kernel, and to Go nothing else says that Watch happened before.
func (ln *Listener) Watch(w Watcher) { ln.watcher.Store(&w) }

func (c *Conn) opened() {
	if w := c.ln.watcher.Load(); w != nil {
		c.watched = true
		(*w).Opened(c)
	}
}

func (c *Conn) gone() {
	if c.watched {
		c.watched = false
		(*c.ln.watcher.Load()).Closed(c)
	}
}

// WaitRead waits until Read would not. It lets a coroutine wait for bytes
// without holding a buffer for them. Errors are those of Read, but for io.EOF:
// an end counts as something to read.
func (c *Conn) WaitRead() error {
	co := c.l.current()
	for {
		if err := c.fault(); err != nil {
			return err
		}
		if c.Readable() {
			return nil
		}
		if c.past(c.readBy.Load()) {
			return os.ErrDeadlineExceeded
		}
		if err := c.awaitRead(co); err != nil {
			return err
		}
	}
}

// Silent asks the kernel whether nothing, not even an end, waits to be read. It
// knows of what arrived after the loop last looked.
func (c *Conn) Silent() bool {
	readable, _ := c.peek()
	return !readable
}

// Broken says whether c was closed or cancelled: neither ends, and it can carry
// nothing more.
func (c *Conn) Broken() bool { return c.fault() != nil }
