package proxy

import "time"

// paceGrace is how long a client may make Weir wait before its pace counts.
const paceGrace = 10 * time.Second

// pace judges how fast a client sends a body or takes an answer: the bytes that
// moved over the time that Weir spent waiting for the client. Time in which
// Weir waits for a backend is not the client's. A nil pace has no opinion.
type pace struct {
	least  int64 // bytes a second; 0: none
	bytes  int64
	waited time.Duration
}

// limit is when a wait that begins now has made the client too slow.
func (p *pace) limit(now time.Time) time.Time {
	if p == nil || p.least <= 0 {
		return time.Time{}
	}
	earned := time.Duration(min(float64(p.bytes)/float64(p.least)*float64(time.Second), 1e18)) // 31 years
	return now.Add(max(paceGrace, earned) - p.waited)
}

// note counts a read or a write.
func (p *pace) note(n int, took time.Duration) {
	if p != nil {
		p.bytes += int64(n)
		p.waited += took
	}
}
