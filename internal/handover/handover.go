// Package handover passes sockets from one process to the next: listening ones,
// and connections at rest, from a Weir to the one that takes its place; and
// those that systemd has bound, with what systemd wants to hear in return.
//
// Two Weirs talk over a socket pair: the old one has one end, the new one finds
// the other among the descriptors that it inherits. It does not know what the
// sockets are for, and decides nothing about when they pass. It is for Linux;
// elsewhere Start returns errors.ErrUnsupported and nothing is ever inherited.
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// env is the variable that tells a new process what its descriptors are.
const env = "WEIR_HANDOVER"

// Kinds of sockets.
const (
	Proxy = "proxy"
	Admin = "admin"
)

// Socket is a listening socket on its way.
type Socket struct {
	Kind    string `json:"kind"`              // Proxy or Admin
	Key     string `json:"key,omitempty"`     // what its user finds it by; empty: its address
	Address string `json:"address,omitempty"` // as bound: "127.0.0.1:80", "unix:/run/x.sock"
	FD      int    `json:"fd"`
	Owned   bool   `json:"owned,omitempty"` // the file of a unix socket goes with who owns it
}

// offer is the value of env.
type offer struct {
	Channel int      `json:"channel"` // descriptor
	Sockets []Socket `json:"sockets"`
}

// What is said over the channel. A process ignores what it does not know: the
// other one may be of another version.
const (
	ready   = "ready"   // new: I serve
	leaving = "leaving" // new: I was told to leave, do not come back
	rest    = "rest"    // old: here is a connection at rest
	proven  = "proven"  // old: I shall not come back
)

// message is one of them.
type message struct {
	Type  string `json:"type"`
	Build string `json:"build,omitempty"` // with ready

	Key    string `json:"key,omitempty"` // of the listener; this and the following with rest
	Remote string `json:"remote,omitempty"`
	Local  string `json:"local,omitempty"`
	Tag    uint8  `json:"tag,omitempty"`
	LeftMS int64  `json:"left_ms,omitempty"`
}

// maxMessage bounds a message in bytes.
const maxMessage = 4 << 10

// ErrBusy is returned by Give when the other process has not kept up.
var ErrBusy = errors.New("the other process has not kept up")

// Conn is a connection at rest.
type Conn struct {
	Key           string // of its listener
	FD            int
	Remote, Local netip.AddrPort
	Tag           uint8
	Left          time.Duration // that it may be silent; 0: as long as the new process lets one be
}

func (c Conn) message() message {
	m := message{Type: rest, Key: c.Key, Tag: c.Tag, LeftMS: int64((c.Left + time.Millisecond - 1) / time.Millisecond)}
	if c.Remote.IsValid() {
		m.Remote = c.Remote.String()
	}
	if c.Local.IsValid() {
		m.Local = c.Local.String()
	}
	return m
}

func (m message) conn(fd int) Conn {
	c := Conn{Key: m.Key, FD: fd, Tag: m.Tag, Left: time.Duration(m.LeftMS) * time.Millisecond}
	c.Remote, _ = netip.ParseAddrPort(m.Remote) // none: a unix socket
	c.Local, _ = netip.ParseAddrPort(m.Local)
	return c
}

// environment is that of a new process: ours, without what was only for us.
func environment(o offer) ([]string, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(ours, name)
	})
	return append(list, env+"="+string(text)), nil
}

// ours are the variables that are meant for one process only.
var ours = []string{env, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}

// Program is the file that was executed to run this process, as it is named now:
// what is there may be replaced, or be a link that leads elsewhere later. It must
// be called before the working directory changes.
func Program() (string, error) {
	name := os.Args[0]
	if strings.ContainsRune(name, os.PathSeparator) {
		return absolute(name)
	}
	for _, dir := range strings.Split(os.Getenv("PATH"), string(os.PathListSeparator)) {
		if path, err := absolute(dir + string(os.PathSeparator) + name); err == nil && dir != "" {
			return path, nil
		}
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("which file %s is cannot be told: %w", name, err)
	}
	return path, nil
}
