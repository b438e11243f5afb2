package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxUnixPath is what fits into a socket address everywhere, its final NUL included.
const maxUnixPath = 104

// endpoint is an address taken apart.
type endpoint struct {
	unix string
	host string // lower case; without brackets
	ip   netip.Addr
	port uint16
}

// key is equal for two spellings of one address.
func (e endpoint) key() string {
	switch {
	case e.unix != "":
		return "unix:" + e.unix
	case e.ip.IsValid():
		return netip.AddrPortFrom(e.ip, e.port).String()
	default:
		return fmt.Sprintf("%s:%d", e.host, e.port)
	}
}

// overlaps says whether only one of two can be listened on: they are equal, or
// one stands for all addresses of the other's family. Port 0 is always a free one.
func (e endpoint) overlaps(o endpoint) bool {
	if e.unix != "" || o.unix != "" {
		return e.unix == o.unix
	}
	if e.port != o.port || e.port == 0 {
		return false
	}
	covers := func(a, b endpoint) bool {
		return a.host == "" || a.ip.IsUnspecified() && b.ip.IsValid() && a.ip.Is4() == b.ip.Is4()
	}
	return e.key() == o.key() || covers(e, o) || covers(o, e)
}

// private says whether only this machine can reach it.
func (e endpoint) private() bool {
	return e.unix != "" || e.ip.IsLoopback() || e.host == "localhost"
}

// parseEndpoint takes host:port, [v6]:port, :port or unix:/path apart. The
// error is for people and has no prefix.
func parseEndpoint(s string) (endpoint, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return endpoint{unix: path}, checkSocket(s, path)
	}
	i := strings.LastIndexByte(s, ':')
	switch {
	case s == "":
		return endpoint{}, errors.New("the address is empty")
	case strings.Contains(s, "://"):
		return endpoint{}, fmt.Errorf("%q has a scheme; write host:port alone", s)
	case i < 0:
		return endpoint{}, fmt.Errorf("%q has no port; write %s:PORT", s, s)
	}
	host, port := s[:i], s[i+1:]
	// No service names: what they mean differs between machines.
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !isDigits(port) {
		return endpoint{}, fmt.Errorf("%q has no port between 0 and 65535 after its last colon", s)
	}
	e := endpoint{port: uint16(n)}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		e.ip, err = netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !e.ip.Is6() {
			return endpoint{}, fmt.Errorf("%q has no IPv6 address in its brackets", s)
		}
		e.host = e.ip.String()
		return e, nil
	}
	if strings.Contains(host, ":") {
		return endpoint{}, fmt.Errorf("%q: an IPv6 address goes in brackets, such as [::1]:8080", s)
	}
	e.host = strings.ToLower(host)
	e.ip, err = netip.ParseAddr(host)
	if host != "" && err != nil {
		return e, checkName(host)
	}
	return e, nil
}

func checkSocket(s, path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		// Relative to what would depend on where Weir was started.
		return fmt.Errorf("%q is not unix: and a path from the root, such as unix:/run/weir.sock", s)
	case len(path) >= maxUnixPath:
		return fmt.Errorf("the socket path has %d bytes; at most %d fit", len(path), maxUnixPath-1)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("the socket path %q has a NUL", path)
	}
	return nil
}

// checkName says what keeps s from being a DNS name. It is lenient about
// underscores, which names inside clusters have.
func checkName(s string) error {
	if strings.Contains(s, "://") {
		return fmt.Errorf("%q has a scheme; write the host alone", s)
	}
	if len(s) > 253 {
		return fmt.Errorf("a host name of %d bytes; at most 253 are possible", len(s))
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.ContainsFunc(label, notInName) {
			return fmt.Errorf("%q is not a host name; one has letters, digits, hyphens and dots (others in their xn-- form)", s)
		}
	}
	// No top-level domain is a number: this was meant to be an IP address.
	if isDigits(labels[len(labels)-1]) {
		return fmt.Errorf("%q is neither a host name nor an IP address", s)
	}
	return nil
}

func notInName(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

// hostPattern checks a host to match and brings it into the one form that is
// compared: lower case, no final dot, IPv6 in brackets.
func hostPattern(s string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil && ip.Zone() == "" {
		if ip.Is6() {
			return "[" + ip.String() + "]", nil
		}
		return s, nil
	}
	name, _ := strings.CutPrefix(s, "*.")
	host, port, ported := strings.Cut(name, ":")
	switch {
	case s == "*":
		return "", errors.New("to match every host leave hosts out")
	case ported && isDigits(port):
		return "", fmt.Errorf("%q has a port; hosts are matched without it: write %s", s, host)
	case strings.Contains(name, "*"):
		return "", fmt.Errorf("%q: a star can only stand for all labels in front, such as *.example.com", s)
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return strings.ToLower(strings.TrimSuffix(s, ".")), nil
}

// checkAuthority says what keeps s from being a Host header's value.
func checkAuthority(s string) error {
	if strings.HasPrefix(s, "[") || strings.Contains(s, ":") {
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			s += ":80"
		}
		e, err := parseEndpoint(s)
		if err == nil && (e.unix != "" || e.host == "") {
			err = fmt.Errorf("%q is not a host", s)
		}
		return err
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	return checkName(s)
}

// network reads a prefix or a plain address; the address bits behind the
// prefix are dropped.
func network(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", s)
	}
	if ip := p.Addr(); ip.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(ip.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// authority reads what becomes a Host header; "" is none.
func (t *table) authority(key string, dst *string) {
	if v, ok := t.text(key, dst); ok && *dst != "" {
		if err := checkAuthority(*dst); err != nil {
			v.bad("", "%v", err)
		}
	}
}

func (t *table) networks(key string, dst *[]netip.Prefix) {
	for _, v := range t.get(key).list() {
		s, ok := v.scalar("an address or a network")
		if !ok {
			continue
		}
		p, err := network(s)
		if err != nil {
			v.bad("", "%v", err)
		} else if !slices.Contains(*dst, p) {
			*dst = append(*dst, p)
		}
	}
}

// Overlaps reports whether only one of two listeners can listen: their addresses are
// the same, or one stands for all addresses and the other's is one of them.
func (l *Listener) Overlaps(o *Listener) bool {
	a, errA := parseEndpoint(l.Address)
	b, errB := parseEndpoint(o.Address)
	return errA == nil && errB == nil && a.overlaps(b)
}

// Name is the host name that a backend's address has to be found by; "" if the
// address says itself where it is.
func (b *Backend) Name() string {
	e, err := parseEndpoint(b.Address)
	if err != nil || e.unix != "" || e.ip.IsValid() {
		return ""
	}
	return e.host
}
