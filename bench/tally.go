package bench

import (
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The histograms' range in nanoseconds: a microsecond to an hour, to three
// digits. What is longer counts as an hour.
const (
	shortest = int64(time.Microsecond)
	longest  = int64(time.Hour)
	digits   = 3
)

// tally is everything that is counted.
type tally struct {
	latency     *hdrhistogram.Histogram // from the intended start
	service     *hdrhistogram.Histogram // from the first byte sent
	answers     int64
	bytes       int64
	connections int64
	begun       int64 // requests started, however they ended
	statuses    map[int]int64
	errors      [causes]int64
}

func newTally() *tally {
	return &tally{
		latency:  hdrhistogram.New(shortest, longest, digits),
		service:  hdrhistogram.New(shortest, longest, digits),
		statuses: make(map[int]int64),
	}
}

// failed is how many requests count as errors.
func (t *tally) failed() (n int64) {
	for _, e := range t.errors {
		n += e
	}
	return n
}

// add adds what u has counted.
func (t *tally) add(u *tally) {
	t.latency.Merge(u.latency)
	t.service.Merge(u.service)
	t.answers += u.answers
	t.bytes += u.bytes
	t.connections += u.connections
	t.begun += u.begun
	for status, n := range u.statuses {
		t.statuses[status] += n
	}
	for i, n := range u.errors {
		t.errors[i] += n
	}
}

// reset forgets everything and keeps the memory.
func (t *tally) reset() {
	t.latency.Reset()
	t.service.Reset()
	clear(t.statuses)
	*t = tally{latency: t.latency, service: t.service, statuses: t.statuses}
}

// record counts one answer.
func (t *tally) record(a answer, latency, service time.Duration) {
	// The only error is a value out of range, which within cannot return.
	_ = t.latency.RecordValue(within(latency))
	_ = t.service.RecordValue(within(service))
	t.answers++
	t.bytes += a.bytes
	t.statuses[a.status]++
	if a.status >= 400 {
		t.errors[Status]++
	}
}

// within is d as a histogram takes it.
func within(d time.Duration) int64 { return min(max(int64(d), 0), longest) }

// shard is a tally that some workers share. A histogram is some hundred
// kilobytes, too much for one a connection; one for all would be a crowd at
// one lock.
type shard struct {
	mu sync.Mutex
	t  *tally
}

func newShard() *shard { return &shard{t: newTally()} }

func (s *shard) answer(a answer, latency, service time.Duration) {
	s.mu.Lock()
	s.t.record(a, latency, service)
	s.mu.Unlock()
}

func (s *shard) fail(c Cause) {
	s.mu.Lock()
	s.t.errors[c]++
	s.mu.Unlock()
}

func (s *shard) connected() {
	s.mu.Lock()
	s.t.connections++
	s.mu.Unlock()
}

func (s *shard) begin() {
	s.mu.Lock()
	s.t.begun++
	s.mu.Unlock()
}

// drainInto moves the shard's counts into t.
func (s *shard) drainInto(t *tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.add(s.t)
	s.t.reset()
}

// statusCounts is a copy of the statuses for a report.
func (t *tally) statusCounts() map[int]int64 { return maps.Clone(t.statuses) }
