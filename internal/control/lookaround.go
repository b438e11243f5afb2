package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"weir/internal/config"
)

const (
	lookUpTime  = 2 * time.Second // for one name
	lookUpAll   = 5 * time.Second // for all names of a configuration
	lookUpsOnce = 32              // at the same time
)

// lookAtFiles reads what a configuration names. What keeps it from being applied
// is an error: passwords and secrets. A token is asked for at each use.
func (c *Controller) lookAtFiles(cfg *config.Config, fs *findings) {
	for _, e := range c.o.Proxy.TryCompile(cfg) {
		path, r := fmt.Sprintf("listeners[%d].routes[%d]", e.Listener, e.Route), &cfg.Listeners[e.Listener].Routes[e.Route]
		if r.BasicAuth.UsersFile != "" {
			path += ".basic_auth.users_file"
		}
		fs.add("file-unreadable", fatal, path, "", "%v", e.Err)
	}
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		if p.Sticky.Cookie == "" || p.Sticky.SecretFile == "" {
			continue
		}
		if _, err := readSecret(c.beside(p.Sticky.SecretFile)); err != nil {
			fs.add("file-unreadable", fatal, "pools."+p.Name+".sticky.secret_file", "", "%v", err)
		}
	}
	if f := cfg.Admin.TokenFile; f != "" {
		switch raw, err := os.ReadFile(c.beside(f)); {
		case err != nil:
			fs.add("file-unreadable", warning, "admin.token_file", "Weir does not start without it", "%v", err)
		case len(bytes.TrimSpace(raw)) == 0:
			fs.add("file-unreadable", warning, "admin.token_file", "Weir does not start without a token", "%s is empty", c.beside(f))
		}
	}
}

// lookAtPrograms looks for the programs that a configuration runs: a check whose
// program is missing fails for every backend.
func (c *Controller) lookAtPrograms(cfg *config.Config, fs *findings) {
	missing := func(path string, argv []string) {
		if len(argv) == 0 {
			return
		}
		if _, err := exec.LookPath(argv[0]); err != nil && !errors.Is(err, exec.ErrDot) {
			fs.add("program-missing", warning, path, "", "%q cannot be run: %v", argv[0], errors.Unwrap(err))
		}
	}
	for i := range cfg.Pools {
		if a := cfg.Pools[i].Health.Active; a != nil {
			missing("pools."+cfg.Pools[i].Name+".health.active.argv", a.Argv)
		}
	}
	missing("guard.notify.exec", cfg.Guard.Notify.Exec)
}

// lookUpNames looks up the names of backends, many at a time. A backend without an
// address gets no requests until it has one; that is no reason not to start.
func (c *Controller) lookUpNames(ctx context.Context, cfg *config.Config, fs *findings) {
	paths := make(map[string]string) // where a name is first
	var names []string
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		for k := range p.Backends {
			if name := p.Backends[k].Name(); name != "" && paths[name] == "" {
				paths[name] = fmt.Sprintf("pools.%s.backends[%d].address", p.Name, k)
				names = append(names, name)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpAll)
	defer cancel()
	errs := c.lookUp(ctx, names)
	unasked := 0
	for _, name := range names {
		switch err := errs[name]; {
		case err == errUnasked:
			unasked++
		case err != nil:
			fs.add("name-unresolved", warning, paths[name], "", "%q does not resolve: %s", name, why(err))
		}
	}
	if unasked > 0 {
		fs.add("names-not-asked", warning, "", "", "%s could not be looked up within %v", count(unasked, "name"), lookUpAll)
	}
}

var errUnasked = errors.New("not asked: no time was left")

// lookUp returns what is wrong with each of the names, nil if nothing.
func (c *Controller) lookUp(ctx context.Context, names []string) map[string]error {
	errs := make([]error, len(names))
	todo := make(chan int)
	var workers sync.WaitGroup
	for range min(lookUpsOnce, len(names)) {
		workers.Go(func() {
			for i := range todo {
				errs[i] = c.lookUpOne(ctx, names[i])
			}
		})
	}
	for i := range names {
		todo <- i
	}
	close(todo)
	workers.Wait()
	out := make(map[string]error, len(names))
	for i, name := range names {
		out[name] = errs[i]
	}
	return out
}

func (c *Controller) lookUpOne(ctx context.Context, name string) error {
	if ctx.Err() != nil {
		return errUnasked
	}
	one, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	addrs, err := c.o.Resolve(one, name)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address")
	}
	return err
}

// why is a failed look-up without the name and the server in it.
func why(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", lookUpTime)
	case errors.As(err, &dns):
		return dns.Err
	}
	return err.Error()
}
