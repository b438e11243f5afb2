package route

import (
	"bytes"
	"net/netip"
	"regexp"
)

// conditions are what is left of a rule once host and path have been looked up.
type conditions struct {
	path    *regexp.Regexp // nil: the index has seen to the path
	methods []string
	headers []Cond // names in lower case
	query   []Cond
	clients []netip.Prefix
}

// hold tells whether all conditions hold; cheap ones are asked first.
func (c *conditions) hold(r *Request) bool {
	if len(c.methods) > 0 && !oneOf(c.methods, r.Method) {
		return false
	}
	if len(c.clients) > 0 && !inside(c.clients, r.Client) {
		return false
	}
	for i := range c.headers {
		if !c.headers[i].inHeader(r.Header) {
			return false
		}
	}
	for i := range c.query {
		if !c.query[i].inQuery(r.Query) {
			return false
		}
	}
	return c.path == nil || c.path.Match(r.Path)
}

func oneOf(methods []string, method []byte) bool {
	for _, m := range methods {
		if m == string(method) {
			return true
		}
	}
	return false
}

// inside compares an IPv4 client in IPv6's clothes as IPv4, and ignores the zone
// of a link-local one: an operator's networks name neither.
func inside(networks []netip.Prefix, client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(client) {
			return true
		}
	}
	return false
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func (c *Cond) accepts(value []byte) bool { return c.Value == "*" || c.Value == string(value) }

func (c *Cond) inHeader(h Headers) bool {
	if h == nil {
		return false
	}
	for i := 0; ; i++ {
		value, ok := h.Get(c.Name, i)
		if !ok {
			return false
		}
		if c.accepts(value) {
			return true
		}
	}
}

// inQuery looks for the parameter among name=value pairs that ampersands
// separate. A name without "=" has the empty value.
func (c *Cond) inQuery(query []byte) bool {
	for len(query) > 0 {
		var pair []byte
		pair, query = cutByte(query, '&')
		name, value := cutByte(pair, '=')
		if equalDecoded(name, c.Name) && (c.Value == "*" || equalDecoded(value, c.Value)) {
			return true
		}
	}
	return false
}

// cutByte is bytes.Cut for one byte; without it, after is empty.
func cutByte(s []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, nil
}

// equalDecoded tells whether raw, without its percent-encoding, is want. A plus
// is a blank, and a percent sign that begins no escape is a percent sign: that
// is how browsers and backends read it.
func equalDecoded(raw []byte, want string) bool {
	n := 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]):
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
		}
		if n == len(want) || want[n] != c {
			return false
		}
		n++
	}
	return n == len(want)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
