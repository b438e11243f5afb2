package basicauth

import (
	"bytes"
	"encoding/base64"
)

const (
	maxName     = 255 // bytes; longer ones are refused in the file, too
	maxPassword = 72  // bytes; bcrypt does not look at what comes after
	maxEncoded  = (maxName + 1 + maxPassword + 2) / 3 * 4
)

// strict refuses what a second encoding of the same bytes would need: bits
// after the end, and missing padding.
var strict = base64.StdEncoding.Strict()

// credentials is an Authorization field taken apart. It has no views of itself, so
// that it can stay on the stack.
type credentials struct {
	plain [maxEncoded / 4 * 3]byte
	colon int // where in plain
	n     int // bytes of plain in use
}

func (c *credentials) name() []byte { return c.plain[:c.colon] }
func (c *credentials) pass() []byte { return c.plain[c.colon+1 : c.n] }

// parse reads the value of an Authorization field (RFC 7617, section 2: "Basic",
// blanks, and user-id ":" password in base64). It reports false for other
// schemes and for what no user of ours could send: control characters, an empty
// or too long user-id, a password of more than 72 bytes. It keeps nothing of
// header and does not allocate.
func (c *credentials) parse(header []byte) bool {
	encoded, ok := cutScheme(header)
	if !ok || len(encoded) > maxEncoded || !isPrintable(encoded) { // Decode would skip line ends
		return false
	}
	n, err := strict.Decode(c.plain[:], encoded)
	if err != nil || !isPrintable(c.plain[:n]) {
		return false
	}
	colon := bytes.IndexByte(c.plain[:n], ':')
	if colon < 1 || colon > maxName || n-colon-1 > maxPassword {
		return false
	}
	c.colon, c.n = colon, n
	return true
}

// cutScheme takes "Basic" and at least one blank off (RFC 9110, section 11.4).
func cutScheme(header []byte) (rest []byte, ok bool) {
	const scheme = "basic"
	if len(header) <= len(scheme) || header[len(scheme)] != ' ' {
		return nil, false
	}
	for i := range len(scheme) {
		if header[i]|0x20 != scheme[i] {
			return nil, false
		}
	}
	return bytes.TrimLeft(header[len(scheme):], " "), true
}

// isPrintable reports whether b has no control characters (CTL of RFC 5234).
// Letters beyond ASCII are fine, in whichever encoding the file has them.
func isPrintable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
