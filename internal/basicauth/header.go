package basicauth

import (
	"bytes"
	"encoding/base64"
)

// maxHeader bounds the Authorization value that is looked at, in bytes: room for
// a name of any sense and the longest password.
const maxHeader = 1 << 10

// credentials reads the value of an Authorization field (RFC 7617, section 2).
func credentials(header []byte) (name string, password []byte, ok bool) {
	const scheme = "basic "
	if len(header) > maxHeader || len(header) < len(scheme) || !bytes.EqualFold(header[:len(scheme)], []byte(scheme)) {
		return "", nil, false
	}
	encoded := bytes.TrimLeft(header[len(scheme):], " ")
	text := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Strict().Decode(text, encoded)
	// The decoder skips line ends, which no field value has.
	if err != nil || bytes.ContainsAny(encoded, "\r\n") || bytes.ContainsFunc(text[:n], isControl) {
		return "", nil, false
	}
	user, password, ok := bytes.Cut(text[:n], []byte{':'})
	if !ok || len(user) == 0 || len(password) > maxPassword {
		return "", nil, false
	}
	return string(user), password, true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
