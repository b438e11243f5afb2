package proxy

import (
	"fmt"
	"net"
	"syscall"

	"weir/internal/config"
	"weir/internal/loop"
)

// Inherit finds a bound socket for a listener: by the key that a Socket had, or
// by its address. It returns nil if there is none.
type Inherit func(key, address string) (net.Listener, error)

// Socket is a listening socket on its way to another process.
type Socket struct {
	Key     string // what finds it again
	Address string // as bound
	FD      int    // the receiver's to close
	Owned   bool   // the file of a unix socket goes with its owner
}

// inherited makes a socket of what was inherited for l; nil if nothing was.
func (s *Server) inherited(l *config.Listener) (*loop.Listener, error) {
	if s.inherit == nil {
		return nil, nil
	}
	nl, err := s.inherit(keyOf(l), l.Address)
	if nl == nil || err != nil {
		return nil, err
	}
	return s.group.Inherit(nl)
}

// Sockets are descriptors of all sockets that accept. They stay open when the
// server stops, and with them what waits in their backlogs.
func (s *Server) Sockets() (list []Socket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, lc := range s.current.Load().listeners {
		if lc.ln.draining() {
			continue
		}
		fd, err := lc.ln.socket.Dup()
		if err != nil {
			return list, fmt.Errorf("listener %s: %w", lc.name, err)
		}
		list = append(list, Socket{Key: lc.ln.key, Address: addressOf(lc.ln.socket.Addr()), FD: fd, Owned: lc.ln.socket.Owns()})
	}
	return list, nil
}

// HandOver prepares the server for a Shutdown after which another process
// listens on its sockets: files of unix sockets stay, and connections that come
// to rest go to give, with the key of their listener (see loop.HandOff).
func (s *Server) HandOver(give func(key string, r loop.Resting) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range s.listeners {
		ln.socket.Disown()
		ln.socket.HandOff(func(r loop.Resting) error { return give(ln.key, r) })
	}
}

// Adopt takes over a connection that another process gave away. It is closed if
// there is an error: no such listener any more, most likely.
func (s *Server) Adopt(key string, r loop.Resting) error {
	s.mu.Lock()
	ln := s.listeners[key]
	s.mu.Unlock()
	if ln == nil {
		_ = syscall.Close(r.FD)
		return fmt.Errorf("no listener %s", key)
	}
	return ln.socket.Adopt(r)
}

// OwnSockets makes the files of these unix sockets go with the server.
func (s *Server) OwnSockets(keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if ln := s.listeners[key]; ln != nil {
			ln.socket.Own()
		}
	}
}

// Reopen undoes a Shutdown: what ran listens again, on the sockets that inherit
// finds, and has its connections again. Like Commit it is the writer's.
func (s *Server) Reopen(inherit Inherit) error {
	s.mu.Lock()
	s.inherit = inherit
	s.closing.Store(false)
	retired := make(map[string]*listener)
	for key, ln := range s.listeners {
		if ln.draining() && key == ln.key {
			retired[key] = ln
			delete(s.listeners, key)
			s.listeners[key+" (draining)"] = ln
		}
	}
	old := s.current.Load()
	s.mu.Unlock()
	st, err := s.PrepareSnapshot(old, old.Version())
	if err != nil {
		return err
	}
	st.Commit()
	for _, lc := range st.snap.listeners {
		if before := retired[lc.ln.key]; before != nil {
			before.giveTo(lc.ln)
		}
	}
	return nil
}

// giveTo moves connections at rest to another listener of the process, now and
// as they come to rest.
func (ln *listener) giveTo(next *listener) {
	ln.socket.HandOff(func(r loop.Resting) error {
		r, err := r.Dup()
		if err != nil {
			return err
		}
		return next.socket.Adopt(r)
	})
	ln.socket.CloseIdle()
}
