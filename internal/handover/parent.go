package handover

import "sync"

// Parent is the process that this one is to replace, as this one sees it.
type Parent struct {
	ch   *channel
	once sync.Once
}

func newParent(ch *channel) *Parent { return &Parent{ch: ch} }

// Ready says that this process serves, and what it is.
func (p *Parent) Ready(build string) error { return p.ch.send(message{Type: ready, Build: build}) }

// Leaving says that this process was told to leave: its end is no failure.
func (p *Parent) Leaving() {
	_ = p.ch.send(message{Type: leaving}) // who is gone need not know
}

// Run hands connections that the parent gives away to adopt, which owns their
// descriptors, until the parent has given all, or Close. It calls over once, when
// the parent will not come back any more.
func (p *Parent) Run(adopt func(Conn), over func()) {
	defer p.Close()
	over = sync.OnceFunc(over)
	defer over()
	for {
		m, fd, err := p.ch.receive()
		switch {
		case err != nil:
			return
		case m.Type == proven && fd < 0:
			over()
		case m.Type == rest && fd >= 0:
			adopt(m.conn(fd))
		case fd >= 0:
			closeFD(fd)
		}
	}
}

// Close ends Run.
func (p *Parent) Close() { p.once.Do(p.ch.close) }
