package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Bounds of the admin server. Long answers (events, profiles) move the write
// bound themselves.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = time.Minute
	writeTimeout  = 2 * time.Minute // applying may wait for a round of probes
	idleTimeout   = 2 * time.Minute
	headerBytes   = 64 << 10
	closeTimeout  = 2 * time.Second // what runs may finish when Serve ends
)

// Listen opens the admin API's listener: "host:port", or "unix:/path" for a
// socket that its owner and group may use (mode 0660). A socket file that
// nobody answers on any more is replaced. Errors name the address.
func Listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		ln, err := net.Listen("tcp", address)
		return ln, listenError(address, err)
	}
	if err := removeStale(path); err != nil {
		return nil, listenError(address, err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, listenError(address, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = ln.Close()
		return nil, listenError(address, err)
	}
	return ln, nil
}

// listenError says which address could not be used, and what to look for.
func listenError(address string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("admin API: %s is taken; does another Weir run? %w", address, err)
	}
	return fmt.Errorf("admin API: listen on %s: %w", address, err)
}

// removeStale removes a socket file that a process which is gone left behind.
// Anything else at path stays: it is not ours to delete.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil // nothing there, or Listen says what is in the way
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return syscall.EADDRINUSE
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// Serve answers on ln until ctx ends; then it lets short requests finish and
// cuts the others. It closes ln. The error is nil after an orderly end.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log *zap.Logger) error {
	errorLog, err := zap.NewStdLogAt(log, zap.WarnLevel)
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          errorLog,
		// Streams of events end with ctx; Shutdown alone would wait for them.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if g, ok := ln.(*Gate); ok {
		g.follow(func(aside bool) { s.SetKeepAlivesEnabled(!aside) })
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	})
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("admin API: serve on %s: %w", ln.Addr(), err)
	}
	<-stopped
	return nil
}
