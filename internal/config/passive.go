package config

import "time"

// passive reads when real traffic takes a backend out.
func (t *table) passive(p *Passive) {
	defer t.done()
	t.boolean("enforce", &p.Enforce)
	t.integer("consecutive_errors", &p.ConsecutiveErrors, 0, noMost)
	first, okFirst := t.duration("ejection", &p.Ejection, positive)
	_, okMax := t.duration("max_ejection", &p.MaxEjection, positive)
	switch {
	case p.Ejection <= p.MaxEjection:
	case okFirst && okMax:
		first.bad("ejections grow from ejection to max_ejection", "%v is longer than max_ejection %v", p.Ejection, p.MaxEjection)
	case okFirst: // the other is a default, which gives way
		p.MaxEjection = p.Ejection
	default:
		p.Ejection = p.MaxEjection
	}
	t.integer("max_ejected", &p.MaxEjected, 0, 100)
	t.boolean("half_open", &p.HalfOpen)
	t.errorKinds("count", []string{"connect", "timeout", "reset", "bad_response"}, &p.Count)
	t.get("success_rate").table().successRate(&p.SuccessRate)
}

func (t *table) successRate(s *SuccessRate) {
	const least, most = time.Second, 5 * time.Minute
	defer t.done()
	t.boolean("enabled", &s.Enabled)
	t.decimal("deviations", &s.Deviations, 0.1, 10)
	t.integer("min_backends", &s.MinBackends, 3, noMost) // of two nobody can say which is the odd one
	t.integer("min_requests", &s.MinRequests, 1, noMost)
	t.span("interval", &s.Interval, least, most)
}

// heartbeat reads how often a backend has to say that it is there.
func (t *table) heartbeat(h *Heartbeat) {
	const least = time.Second
	defer t.done()
	if v, ok := t.duration("ttl", &h.TTL, orNone); ok && 0 < h.TTL && h.TTL < least {
		v.bad("0s is none", "%v is shorter than %v", h.TTL, least)
	}
}
