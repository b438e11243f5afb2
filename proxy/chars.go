package proxy

import (
	"bytes"
	"encoding/binary"
)

// equalFold compares a name with a lower-case ASCII string of any length.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		d := lower[i]
		if 'A' <= d && d <= 'Z' {
			d |= 0x20
		}
		if c != d {
			return false
		}
	}
	return true
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// hasControl looks for control characters other than tab, eight bytes at a
// time: a byte below 0x20 or equal to 0x7f sets the high bit of its lane.
func hasControl(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		low := (x - ones*0x20) &^ x
		del := x ^ ones*0x7f
		del = (del - ones) &^ del
		if (low|del)&highs != 0 && hasControlSlow(b[:8]) {
			return true
		}
		b = b[8:]
	}
	return hasControlSlow(b)
}

func hasControlSlow(b []byte) bool {
	for _, c := range b {
		if (c < 0x20 && c != '\t') || c == 0x7f {
			return true
		}
	}
	return false
}

func isNumber(b []byte) bool {
	if len(b) == 0 || len(b) > 18 { // 18 digits fit an int64
		return false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func number(b []byte) (n int64) {
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n
}

// Classes of characters that a token may have.
const (
	noTokenChar uint8 = iota
	plainChar         // a letter, a digit or a hyphen
	oddChar           // the others, in which readers have disagreed
)

// tokenChar is RFC 9110's tchar.
var tokenChar = func() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] = plainChar
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = plainChar, plainChar
	}
	for _, c := range "!#$%&'*+.^_`|~" {
		t[c] = oddChar
	}
	t['-'] = plainChar
	return t
}()

// hasBareCR looks for a CR that is not followed by LF; the last byte may yet be.
func hasBareCR(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 || i == len(b)-1 {
			return false
		}
		if b[i+1] != '\n' {
			return true
		}
		b = b[i+2:]
	}
}
