package route

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxHost is the length of the longest name that DNS allows. A longer host
// meets only rules without hosts.
const maxHost = 253

// hostPattern reads a host as a rule has it: without case, brackets, trailing
// dot, and without the "*." that is told apart.
func hostPattern(pattern string) (host string, wild bool, err error) {
	host, wild = strings.CutPrefix(pattern, "*.")
	if addr, ok := literal(host); ok && !wild {
		return addr.String(), false, nil // clients write IPv6 in its shortest form
	}
	host = strings.TrimSuffix(string(appendLower(nil, []byte(host))), ".")
	switch {
	case host == "":
		err = errors.New("is empty")
	case len(host) > maxHost:
		err = fmt.Errorf("is longer than %d bytes", maxHost)
	case strings.Contains(host, "*"):
		err = errors.New(`has a star; it may only begin with "*."`)
	case strings.ContainsAny(host, ":/[]"):
		err = errors.New("is not a host name; leave out scheme, port and path")
	case host[0] == '.':
		err = fmt.Errorf("begins with a dot; write %q", "*"+host)
	}
	if err != nil {
		return "", false, fmt.Errorf("host %q %w", pattern, err)
	}
	return host, wild, nil
}

// literal reads an IP address, IPv6 with or without brackets.
func literal(host string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = inner[:len(inner)-1]
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// requestHost appends to dst, which has room for maxHost bytes, the host that a
// client named: in lower case, without port, trailing dot and brackets. What
// cannot be a host gives nothing.
func requestHost(dst, host []byte) []byte {
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 || end+1 < len(host) && host[end+1] != ':' {
			return dst[:0]
		}
		host = host[1:end]
	} else if colon := bytes.IndexByte(host, ':'); colon >= 0 {
		host = host[:colon]
	}
	host = bytes.TrimSuffix(host, []byte("."))
	if len(host) > maxHost {
		return dst[:0]
	}
	return appendLower(dst, host)
}

// appendLower lowers ASCII only: names of other alphabets are ASCII on the wire.
func appendLower(dst, s []byte) []byte {
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
