package loop

import "net"

// Detach takes c out of its loop: what it returns is a plain net.Conn for
// goroutines, with nothing read from it lost, and the caller's to close. c itself is closed. It must be
// called from a coroutine of the loop, with nobody waiting in c. After an error
// c is as it was.
func (c *Conn) Detach() (net.Conn, error) {
	c.l.current()
	if err := c.fault(); err != nil {
		return nil, err
	}
	if c.reader != nil || c.writer != nil {
		panic("BUG: Detach of a connection that a coroutine waits for")
	}
	nc, err := c.detach()
	if err != nil {
		return nil, c.opError("detach", err)
	}
	c.closed.Store(true)
	c.released = true
	c.l.unregister(c)
	c.idle, c.target, c.parked = nil, nil, false
	c.leave()
	return nc, nil
}
