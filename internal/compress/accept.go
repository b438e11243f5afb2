package compress

import "bytes"

// Accept is what a client says about codings in its Accept-Encoding fields
// (RFC 9110, section 12.5.3). The zero Accept is that of a client that says
// nothing.
type Accept struct {
	// By coding; the last is for "*". Thousandths plus one, so that 0 means that
	// the client did not name it.
	weights [Brotli + 2]uint16
}

// star is where the weight of "*" is kept.
const star = Brotli + 1

// preferred is the order in which Best likes codings. zstd takes the least time and
// saves about as much as any; brotli saves a little more than gzip, which takes a
// third of its time.
var preferred = [...]Coding{Zstd, Brotli, Gzip}

// Add takes in one field value; a request may have several. Members that are not
// well formed and codings that we do not have are ignored. Of a coding that is
// named twice the lower weight counts: plain bytes are never wrong.
func (a *Accept) Add(field []byte) {
	for len(field) > 0 {
		member := field
		if i := bytes.IndexByte(field, ','); i >= 0 {
			member, field = field[:i], field[i+1:]
		} else {
			field = nil
		}
		a.member(member)
	}
}

func (a *Accept) member(m []byte) {
	q, ok := uint16(1000), true
	if i := bytes.IndexByte(m, ';'); i >= 0 {
		q, ok = qvalue(trim(m[i+1:]))
		m = m[:i]
	}
	c, known := named(trim(m))
	if !ok || !known {
		return
	}
	if w := &a.weights[c]; *w == 0 || q+1 < *w {
		*w = q + 1
	}
}

// Best returns the acceptable coding with the highest weight, and of several
// with the same weight the one we like best. It returns None if none is
// acceptable or the client prefers plain bytes; also if it refuses those too,
// for an answer it does not like is more use to it than none.
func (a *Accept) Best() Coding {
	best, top := None, uint16(0)
	for _, c := range preferred {
		if q := a.weight(c); q > top {
			best, top = c, q
		}
	}
	if a.weight(None) > top {
		return None
	}
	return best
}

// weight returns a coding's weight in thousandths. Plain bytes that are not
// mentioned are acceptable (weight 0 here) but not wanted more than a coding that
// is.
func (a *Accept) weight(c Coding) uint16 {
	w := a.weights[c]
	if w == 0 {
		w = a.weights[star]
	}
	if w == 0 {
		return 0
	}
	return w - 1
}

// named returns the coding with a name, or star.
func named(name []byte) (Coding, bool) {
	var buf [len("identity")]byte
	if len(name) > len(buf) {
		return None, false
	}
	switch string(lower(buf[:0], name)) {
	case "gzip", "x-gzip": // the same (RFC 9110, section 8.4.1.3)
		return Gzip, true
	case "zstd":
		return Zstd, true
	case "br":
		return Brotli, true
	case "identity":
		return None, true
	case "*":
		return star, true
	}
	return None, false
}

// qvalue reads "q=0.5" as thousandths: from 0 to 1, with up to three digits after
// the point (RFC 9110, section 12.4.2).
func qvalue(b []byte) (uint16, bool) {
	if len(b) < 3 || len(b) > len("q=0.000") || b[0]|0x20 != 'q' || b[1] != '=' || b[2] != '0' && b[2] != '1' {
		return 0, false
	}
	q := uint16(b[2]-'0') * 1000
	if b = b[3:]; len(b) == 0 {
		return q, true
	}
	if b[0] != '.' {
		return 0, false
	}
	place := uint16(100)
	for _, d := range b[1:] {
		if d < '0' || d > '9' {
			return 0, false
		}
		q += uint16(d-'0') * place
		place /= 10
	}
	return q, q <= 1000
}
