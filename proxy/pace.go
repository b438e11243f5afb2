package proxy

import "time"

const (
	// paceGrace is how long a client may make Weir wait before its pace counts.
	paceGrace = 10 * time.Second

	// paceCredit bounds what a client can earn by being fast. Without a bound the
	// megabytes that the kernel takes for a client at once would pay for hours.
	paceCredit = time.Minute
)

// pace judges how fast a client sends a body or takes an answer: every second
// that Weir waits for the client has to be earned with the least number of bytes
// a second. Time in which Weir waits for a backend is not the client's. A nil
// pace has no opinion.
type pace struct {
	least int64         // bytes a second; 0: none
	owed  time.Duration // of waiting, less what was earned
}

// limit is when a wait that begins now has made the client too slow.
func (p *pace) limit(now time.Time) time.Time {
	if p == nil || p.least <= 0 {
		return time.Time{}
	}
	return now.Add(paceGrace - p.owed)
}

// note counts a read or a write of n bytes.
func (p *pace) note(n int, took time.Duration) {
	if p == nil || p.least <= 0 {
		return
	}
	earned := time.Duration(float64(n) / float64(p.least) * float64(time.Second))
	p.owed = max(p.owed+took-earned, paceGrace-paceCredit)
}
