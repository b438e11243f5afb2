package conformance

import (
	"net/netip"
	"strings"
)

// isToken reads RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !isLetter(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", c) }) < 0
}

func isLetter(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' }

// isControl finds what a value must not have: controls but the tab.
func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// areExtensions reads what may follow the size of a chunk (RFC 9112, section
// 7.1.1), without the blanks that it allows for the sake of old senders.
func areExtensions(s string) bool {
	for s != "" {
		rest, found := strings.CutPrefix(s, ";")
		if !found {
			return false
		}
		name, value := rest, ""
		if i := strings.IndexAny(rest, ";="); i >= 0 {
			name, value = rest[:i], rest[i:]
		}
		if !isToken(name) {
			return false
		}
		if s = value; strings.HasPrefix(value, "=") {
			n := valueLength(value[1:])
			if n < 0 {
				return false
			}
			s = value[1+n:]
		}
	}
	return true
}

// valueLength is the length of the token or quoted string that s begins with,
// -1 if it begins with neither.
func valueLength(s string) int {
	if !strings.HasPrefix(s, `"`) {
		token, _, _ := strings.Cut(s, ";")
		if !isToken(token) {
			return -1
		}
		return len(token)
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case isControl(rune(c)):
			return -1
		case c == '\\':
			i++
		}
	}
	return -1
}

// isHost reads a Host value (RFC 9110, section 7.2).
func isHost(s string) bool {
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	if strings.Trim(port, "0123456789") != "" {
		return false
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && a.Is6() && a.Zone() == "" && strings.HasSuffix(inner, "]")
	}
	return strings.IndexFunc(host, func(c rune) bool { return !isLetter(c) && !strings.ContainsRune("-._~!$&'()*+,;=%", c) }) < 0
}

// hasBrokenEscape looks for a percent sign without two hexadecimal digits.
func hasBrokenEscape(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return false
		}
		if s = s[i+1:]; len(s) < 2 || strings.Trim(s[:2], "0123456789abcdefABCDEF") != "" {
			return true
		}
	}
}
