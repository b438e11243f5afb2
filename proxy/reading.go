package proxy

import "bytes"

// A path can mean different things to different readers: an escaped slash is a
// slash to some, ";x" behind a segment is a parameter to others, and there are
// those that decode twice. Weir routes by one reading, the normal form. So that
// no request is routed by one and served by another, a path in which others are
// possible goes on only where each of them leads to the same route.

// liberty is a set of liberties that a reader of paths may take.
type liberty uint8

const (
	readTwice   liberty = 1 << iota // what is escaped twice is decoded twice
	readEscaped                     // %3B is a semicolon
	readParams                      // what follows a semicolon is not part of the segment
	readSlashes                     // %2F, %5C and so \ are slashes
	slashFirst                      // and are so before parameters are looked for
	readCut                         // %3F and %23 end the path
	liberties
)

// pathHandling says what is forwarded of a path.
type pathHandling uint8

const (
	pathNormalize pathHandling = iota // its normal form
	pathReject                        // nothing, if it is not in normal form
	pathRaw                           // what the client sent
)

func pathHandlingOf(word string) pathHandling {
	switch word {
	case "reject":
		return pathReject
	case "raw":
		return pathRaw
	}
	return pathNormalize
}

// doubts are the liberties that would change a path in normal form.
func doubts(path []byte) (how liberty) {
	if bytes.IndexByte(path, ';') >= 0 {
		how = readParams
	}
	for i := 0; i < len(path); i++ {
		if path[i] == '%' {
			switch string(path[i+1 : i+3]) {
			case "2F", "5C":
				how |= readSlashes
			case "3B":
				how |= readEscaped | readParams
			case "3F", "23":
				how |= readCut
			case "25":
				return liberties - 1 // behind it there may be anything
			}
			i += 2
		}
	}
	if how&readSlashes != 0 && how&readParams != 0 {
		how |= slashFirst
	}
	return how
}

// maxDoubtful is the longest path that is read in all ways. Longer ones with
// doubts are refused: nobody writes them, and each way costs time.
const maxDoubtful = 4 << 10

// oneReading reports whether every reading of the path leads to the route that
// was found, and whether that route takes paths like this one.
func (ex *exchange) oneReading() bool {
	t := &ex.target
	base, how := t.path, t.doubts
	switch {
	case t.normal:
	case ex.site.paths == pathReject:
		return false
	case ex.site.paths == pathRaw:
		// The backend gets what came: dots that Weir has resolved, and segments
		// that it has dropped with them, are there for it to read.
		if !ex.leadsHere(t.raw) {
			return false
		}
		ex.packed, _ = unescape(ex.packed[:0], t.raw)
		base = ex.packed
		how = doubts(base)
	}
	return how == 0 || len(base) <= maxDoubtful && ex.allReadings(base, how)
}

// allReadings looks the path up as it is read with each combination of liberties.
func (ex *exchange) allReadings(base []byte, doubts liberty) bool {
	for how := liberty(1); how < liberties; how++ {
		if how&^doubts != 0 {
			continue
		}
		path, ok := read(append(ex.extra[:0], base...), how)
		ex.extra = path
		if !ok || !ex.leadsHere(path) {
			return false
		}
	}
	return true
}

// leadsHere looks up another path for the same request.
func (ex *exchange) leadsHere(path []byte) bool {
	ex.matching.Path = path
	site, ok := ex.lc.routes.Lookup(&ex.matching)
	ex.matching.Path = ex.target.path
	return ok && site == ex.site
}

// read changes a path in normal form into what a reader with these liberties
// makes of it, in place. It reports false where that climbs above the root.
func read(p []byte, how liberty) ([]byte, bool) {
	if how&readTwice != 0 {
		p = decodeTwice(p)
	}
	if how&readCut != 0 {
		p = cutEscaped(p)
	}
	if how&readEscaped != 0 {
		p = decode(p, "3B", "3B", ';')
	}
	if how&readSlashes != 0 && how&slashFirst != 0 {
		p = decode(p, "2F", "5C", '/')
	}
	if how&readParams != 0 {
		p = dropParams(p)
	}
	if how&readSlashes != 0 {
		p = decode(p, "2F", "5C", '/')
	}
	return removeDots(p)
}

// decodeTwice decodes each escape of a percent sign, and what it then begins.
func decodeTwice(p []byte) []byte {
	out := p[:0]
	for i := 0; i < len(p); i++ {
		if p[i] != '%' || i+4 >= len(p) || p[i+1] != '2' || p[i+2] != '5' || !isHex(p[i+3]) || !isHex(p[i+4]) {
			out = append(out, p[i])
			continue
		}
		v := unhex(p[i+3])<<4 | unhex(p[i+4])
		i += 4
		if isUnreserved(v) || v == ';' {
			out = append(out, v)
		} else {
			out = appendEscape(out, v) // three bytes for five
		}
	}
	return out
}

// cutEscaped ends a path at an escaped question mark or number sign.
func cutEscaped(p []byte) []byte {
	for i := 1; i+2 < len(p); i++ {
		if p[i] == '%' && (string(p[i+1:i+3]) == "3F" || string(p[i+1:i+3]) == "23") {
			return p[:i]
		}
	}
	return p
}

// dropParams cuts each segment at its semicolon.
func dropParams(p []byte) []byte {
	out, dropping := p[:0], false
	for _, c := range p {
		switch c {
		case ';':
			dropping = true
		case '/':
			dropping = false
		}
		if !dropping {
			out = append(out, c)
		}
	}
	return out
}

// decode replaces two escapes by a character.
func decode(p []byte, one, other string, by byte) []byte {
	out := p[:0]
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) && (string(p[i+1:i+3]) == one || string(p[i+1:i+3]) == other) {
			out = append(out, by)
			i += 2
			continue
		}
		out = append(out, p[i])
	}
	return out
}
