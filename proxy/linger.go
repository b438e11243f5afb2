package proxy

import "time"

// Bounds of a lingering close.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 16 << 20
)

// mayLinger reports whether a client may still be sending when its connection is
// to be closed.
func (ex *exchange) mayLinger() bool {
	c := ex.cc.Conn
	unread := ex.ctx == nil || ex.body.unread() || closesAfter(ex.reason) || c.Readable()
	return unread && !c.Lost()
}

// linger reads what a client still sends after an answer that ends its
// connection, for a bounded while: closing at once would reset the connection
// and with it the answer on its way (RFC 9112, section 9.6). It holds a buffer
// only while there is something to read.
func (c *clientConn) linger() {
	if c.Conn.CloseWrite() != nil {
		return
	}
	c.w.putInput(c.in.buf)
	c.w.putInput(c.head)
	c.in, c.head = input{}, nil
	c.Conn.SetReadDeadline(c.w.loop.Now().Add(lingerTime))
	for n := 0; n < lingerBytes; {
		if c.Conn.WaitRead() != nil {
			return
		}
		buf := c.w.takeBuffer()
		k, err := c.Conn.Read(buf)
		c.w.putBuffer(buf)
		if err != nil {
			return
		}
		n += k
	}
}
