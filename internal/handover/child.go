package handover

import (
	"fmt"
	"os"
)

// Child is the process that is to replace this one, as this one sees it.
type Child struct {
	PID int

	ch      *channel
	process *os.Process
	ready   chan string
	leaving chan struct{}
	ended   chan struct{}
	heard   chan struct{} // closed when nothing more is heard of it
	how     string        // set before ended is closed
}

// Start executes the program at path with args and these sockets, whose
// descriptors stay the caller's. The working directory, standard input and
// output are ours.
func Start(path string, args []string, sockets []Socket) (*Child, error) {
	c, err := start(path, args, offer{Sockets: sockets})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	c.ready, c.leaving = make(chan string, 1), make(chan struct{})
	c.ended, c.heard = make(chan struct{}), make(chan struct{})
	go c.wait()
	go c.listen()
	return c, nil
}

// wait learns of the end of the process.
func (c *Child) wait() {
	state, err := c.process.Wait()
	if c.how = fmt.Sprint(state); err != nil {
		c.how = err.Error()
	}
	c.ch.hurry() // programs that it started may hold the other end
	<-c.heard    // its last words count
	close(c.ended)
	c.ch.close()
}

// listen hears what it says.
func (c *Child) listen() {
	defer close(c.heard)
	said, left := false, false
	for {
		m, fd, err := c.ch.receive()
		if fd >= 0 {
			closeFD(fd)
		}
		switch {
		case err != nil:
			return
		case m.Type == ready && !said:
			said = true
			c.ready <- m.Build
		case m.Type == leaving && !left:
			left = true
			close(c.leaving)
		}
	}
}

// Ready delivers what the child says of itself when it serves.
func (c *Child) Ready() <-chan string { return c.ready }

// Leaving is closed when the child was told to leave.
func (c *Child) Leaving() <-chan struct{} { return c.leaving }

// Ended is closed when the process is gone.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// How it ended: "exit status 1", "signal: killed". Not before Ended.
func (c *Child) How() string { return c.how }

// Give gives it a connection at rest. It does not block, and leaves conn.FD to
// the caller, who closes it. ErrBusy: not now.
func (c *Child) Give(conn Conn) error { return c.ch.send(conn.message(), conn.FD) }

// Proven tells it that this process will not come back.
func (c *Child) Proven() { _ = c.ch.send(message{Type: proven}) } // if it is gone, so be it

// Release says that no more connections come.
func (c *Child) Release() { c.ch.close() }

// Signal sends it a signal, if it is there still.
func (c *Child) Signal(s os.Signal) { _ = c.process.Signal(s) }

// Kill ends it and waits for that.
func (c *Child) Kill() {
	_ = c.process.Kill() // gone already: as good
	<-c.ended
}
