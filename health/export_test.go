package health

// ParseHead is what is read of most answers without net/http; end and length are
// those of the head and the body.
func ParseHead(b []byte, method string) (status, end, length int, closes, ok bool) {
	h, ok := parseHead(b, method)
	return h.status, h.end, h.length, h.close, ok
}

// Queue orders things by a number.
type Queue struct{ q queue }

// Push enters n; stopped ones are what Sweep removes.
func (q *Queue) Push(n int64, stopped bool) { q.q.push(planned{n, &probe{stopped: stopped}}) }

// Pop takes out the least.
func (q *Queue) Pop() int64 { return q.q.pop().at }

// Sweep removes what has been stopped.
func (q *Queue) Sweep() { q.q.sweep() }

// Len is how many there are.
func (q *Queue) Len() int { return len(q.q) }

// Kept is how many connections wait for their next probe.
func (p *Pace) Kept() int64 { return p.spares.Load() }
