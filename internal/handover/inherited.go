package handover

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Inherited is what this process was given when it was started. A nil one is
// empty.
type Inherited struct {
	Parent *Parent // who is to be replaced; nil: nobody

	mu      sync.Mutex // Take and Rest
	sockets []Socket
	taken   []Socket
}

// Take makes a listener of the socket that was passed for kind and key or, bound
// by systemd, has the address "host:port" or "unix:/path". It returns nil if
// there is none.
func (in *Inherited) Take(kind, key, address string) (net.Listener, error) {
	if in == nil {
		return nil, nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	i := slices.IndexFunc(in.sockets, func(s Socket) bool {
		if s.Kind != "" && s.Kind != kind {
			return false
		}
		return s.Key != "" && s.Key == key || s.Key == "" && sameAddress(s.Address, address)
	})
	if i < 0 {
		return nil, nil
	}
	s := in.sockets[i]
	in.sockets = slices.Delete(in.sockets, i, i+1)
	in.taken = append(in.taken, s)
	return Listener(s.FD)
}

// Replaces is the process to be replaced; nil if there is none.
func (in *Inherited) Replaces() *Parent {
	if in == nil {
		return nil
	}
	return in.Parent
}

// Listener makes a listener of a descriptor, which it closes. The file of a unix
// socket stays.
func Listener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "inherited")
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not open", fd)
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return ln, nil
}

// Owned are the keys of the sockets of a kind that were taken and whose files go
// with who owns them.
func (in *Inherited) Owned(kind string) (keys []string) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.taken {
		if s.Kind == kind && s.Owned {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// Drop closes the sockets that nobody has taken and returns their addresses: a
// client that connects to one would wait for ever.
func (in *Inherited) Drop() (addresses []string) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		addresses = append(addresses, s.Address)
		closeFD(s.FD)
	}
	in.sockets = nil
	return addresses
}

// sameAddress compares an address that is bound with one that is wished for,
// which may lack its host: then any wildcard will do.
func sameAddress(bound, wanted string) bool {
	if bound == wanted {
		return true
	}
	if strings.HasPrefix(bound, "unix:") || strings.HasPrefix(wanted, "unix:") {
		return false
	}
	bh, bp, err1 := net.SplitHostPort(bound)
	wh, wp, err2 := net.SplitHostPort(wanted)
	if err1 != nil || err2 != nil || bp != wp {
		return false
	}
	if wh == "" {
		return bh == "::" || bh == "0.0.0.0" || bh == ""
	}
	a, b := net.ParseIP(bh), net.ParseIP(wh)
	return bh == wh || a != nil && a.Equal(b)
}

// absolute is the path of a file that can be executed.
func absolute(name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is not a program", path)
	}
	return path, nil
}
