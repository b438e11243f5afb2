package proxy

import "weir/pool"

// noteLoad tells the pool what load the backend names in its answer, and keeps
// it from the client: how busy a backend is concerns nobody outside.
func (ex *exchange) noteLoad(lease *pool.Lease) {
	if value := ex.hideLoad(); value != nil {
		if load, ok := parseLoad(value); ok {
			lease.ReportLoad(load)
		}
	}
}

// hideLoad takes the load header out of the answer's head and returns its value,
// the last one's if there are several; nil if there is none.
func (ex *exchange) hideLoad() (value []byte) {
	if ex.site.loadHeader == "" {
		return nil
	}
	for i := range ex.answer.lines {
		l := &ex.answer.lines[i]
		if !ex.site.isLoad(l.name) {
			continue
		}
		value = l.value
		if l.kind == fieldOther || l.kind == fieldWeir { // what frames the answer has to stay
			l.kind = fieldHop
		}
	}
	return value
}

// isLoad reports whether a name is that of the load header.
func (s *site) isLoad(name []byte) bool {
	return s.loadHeader != "" && equalFold(name, s.loadHeader)
}

// parseLoad reads a number from 0 to 1 with digits and at most one point: 0.35,
// 1, .5. Whatever else it may be is no load.
func parseLoad(b []byte) (load float64, ok bool) {
	scale, point, digits := 1.0, false, 0
	for _, c := range b {
		switch {
		case c == '.' && !point:
			point = true
			continue
		case c < '0' || c > '9':
			return 0, false
		}
		if digits++; point {
			scale /= 10
			load += float64(c-'0') * scale
		} else if load = load*10 + float64(c-'0'); load > 1 {
			return 0, false
		}
	}
	// 0.999… may have been added up to a little more than it says.
	return min(load, 1), digits > 0 && load < 1+1e-9
}
