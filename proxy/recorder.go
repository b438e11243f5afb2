package proxy

import (
	"slices"
	"sync"
	"time"

	"weir/internal/config"
)

// Recorded is a request of the recent past, without its body.
type Recorded struct {
	Time    time.Time `json:"time"`
	Version int       `json:"version"` // that served it
	Status  int       `json:"status"`
	Request
}

// recording is a loop's ring of sampled requests. A request that is not sampled
// costs a comparison.
type recording struct {
	sample float64

	mu   sync.Mutex // the loop, for one request in a hundred; whoever reads
	ring []Recorded
	next int
	size int
}

// mostHead bounds what is kept of one request.
const mostHead = 8 << 10

// refit brings a ring in line with the configuration. It runs on the loop.
func (r *recording) refit(c config.Record, loops int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sample = c.Sample
	if size := (c.Requests + loops - 1) / loops; size != r.size {
		r.size, r.ring, r.next = size, nil, 0
	}
	if r.size == 0 {
		r.sample = 0
	}
}

// recordHead keeps the request, if it is its turn.
func (ex *exchange) recordHead() {
	w := ex.w
	r := &w.recording
	if r.sample <= 0 || ex.head.lines == nil || r.sample < 1 && float64(w.random.Uint64()>>11)/(1<<53) >= r.sample {
		return
	}
	head := ex.masked()
	if head == "" {
		return
	}
	got := Recorded{
		Time: ex.start, Version: ex.snp.Version(), Status: ex.status,
		Request: Request{Listener: ex.lc.name, Client: ex.client, Head: head, Body: ex.body.length},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < r.size {
		r.ring = append(r.ring, got)
		return
	}
	r.ring[r.next] = got
	r.next = (r.next + 1) % r.size
}

// masked is the head of the request without its secrets; "" if it is too long.
func (ex *exchange) masked() string {
	b := append(ex.w.scratch[:0], ex.method...)
	b = append(append(append(b, ' '), ex.line.target...), " HTTP/1.1\r\n"...)
	for i := range ex.head.lines {
		l := &ex.head.lines[i]
		if !config.IsSecretName(string(l.name)) {
			b = append(b, l.raw...)
			continue
		}
		b = append(append(b, l.name...), ": masked\r\n"...)
	}
	ex.w.scratch = b
	if len(b) > mostHead {
		return ""
	}
	return string(b)
}

// Recorded lists the requests that were recorded, oldest first.
func (s *Server) Recorded() []Recorded {
	all := []Recorded{}
	for _, w := range s.workers {
		w.recording.mu.Lock()
		all = append(all, w.recording.ring...)
		w.recording.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Recorded) int { return a.Time.Compare(b.Time) })
	return all
}

// Summary is a request as people name it.
func (r *Request) Summary() (method, host, path string) {
	ex := new(exchange)
	lc := &listenerConfig{}
	lc.limits.Headers = 1 << 20
	if ex.restore(*r, lc) != nil {
		return "", "", ""
	}
	return string(ex.method), string(ex.host), string(ex.target.path)
}
