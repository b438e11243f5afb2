package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"weir/internal/config"
	"weir/internal/metrics"
	"weir/pool"
)

// RouteError is why a route cannot be compiled.
type RouteError struct {
	Listener, Route int // numbers in the configuration
	Err             error
}

// TryCompile compiles the routes of a configuration as Prepare does, changes
// nothing, and throws the result away. It reads what they read (users_file).
func (s *Server) TryCompile(cfg *config.Config) []RouteError {
	c := s.dryCompiler(cfg)
	defer c.keeper.close()
	var errs []RouteError
	for i := range cfg.Listeners {
		for j := range cfg.Listeners[i].Routes {
			if _, err := c.site(cfg.Listeners[i].Name, &cfg.Listeners[i].Routes[j]); err != nil {
				errs = append(errs, RouteError{i, j, err})
			}
		}
	}
	return errs
}

// Compile makes a snapshot that can be asked (Decide) and never served: nothing is
// bound, and nothing of it is to be seen in metrics or route states.
func (s *Server) Compile(cfg *config.Config) (*Snapshot, error) {
	c := s.dryCompiler(cfg)
	defer c.keeper.close()
	return c.snapshot()
}

// dryCompiler is a compiler whose sites are thrown away.
func (s *Server) dryCompiler(cfg *config.Config) *compiler {
	c := &compiler{
		pools: make(map[string]*pool.Pool, len(cfg.Pools)), metrics: metrics.New(1),
		cfg: cfg, keeper: newKeeper(s.log), dir: s.dir,
	}
	c.states = newRouteStates(1)
	for _, p := range cfg.Pools {
		c.pools[p.Name] = new(pool.Pool) // it is there, more is not asked
	}
	return c
}

// TryBind binds the addresses that Prepare would have to bind for cfg, gives them
// back at once, and returns by the listener's number why one is not to be had.
// Nobody else may prepare at the same time: it would find an address taken.
func (s *Server) TryBind(cfg *config.Config) map[int]error {
	errs := make(map[int]error)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if ln := s.listeners[keyOf(l)]; ln != nil && !ln.draining() || strings.HasSuffix(l.Address, ":0") {
			continue
		}
		if err := tryListen(l.Address); err != nil {
			errs[i] = hint(err)
		}
	}
	return errs
}

func tryListen(address string) error {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
		if replaced, err := staleSocket(path); replaced || err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // as loop.Group.Listen
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return err
	}
	return ln.Close()
}

// staleSocket reports whether path is a socket that nobody listens on: a listener
// replaces such a file, a trial leaves it alone.
func staleSocket(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return false, nil // bind says what is wrong
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return false, errors.Join(syscall.EADDRINUSE, c.Close())
	}
	return errors.Is(err, syscall.ECONNREFUSED), nil
}
