package proxy

import (
	"bytes"
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
// costs a comparison; one that is costs a copy, into the room of the one that it
// displaces.
type recording struct {
	sample float64

	mu   sync.Mutex // the loop, for one request in a hundred; whoever reads
	ring []recorded
	next int
	size int
}

type recorded struct {
	Recorded
	head []byte // becomes Head when somebody reads it
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
	if r.sample <= 0 || ex.matching.Header == nil || r.sample < 1 && w.draw() >= r.sample {
		return
	}
	w.scratch = ex.appendMasked(w.scratch[:0])
	if len(w.scratch) > mostHead {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < r.size {
		r.ring = append(r.ring, recorded{})
	}
	was := &r.ring[r.next]
	was.Recorded = Recorded{
		Time: ex.start, Version: ex.snp.Version(), Status: ex.status,
		Request: Request{Listener: ex.lc.name, Client: ex.client, Body: ex.body.length},
	}
	was.head = append(was.head[:0], w.scratch...)
	r.next = (r.next + 1) % r.size
}

// appendMasked appends the head of the request without its secrets.
func (ex *exchange) appendMasked(b []byte) []byte {
	b = append(append(b, ex.method...), ' ')
	b = append(appendMaskedQuery(b, ex.line.target), " HTTP/1.1\r\n"...)
	if ex.http10 {
		b[len(b)-3] = '0'
	}
	for i := range ex.head.lines {
		l := &ex.head.lines[i]
		if !config.IsSecretName(l.name) {
			b = append(b, l.raw...)
			continue
		}
		b = append(append(b, l.name...), ": masked\r\n"...)
	}
	return b
}

// appendMaskedQuery appends a request's target, with the values of its query
// that let somebody in masked: a link that carries a token is a key, too.
func appendMaskedQuery(b, target []byte) []byte {
	path, query, has := bytes.Cut(target, []byte("?"))
	b = append(b, path...)
	for sep := byte('?'); has; sep = '&' {
		var pair []byte
		pair, query, has = bytes.Cut(query, []byte("&"))
		b = append(b, sep)
		if name, _, valued := bytes.Cut(pair, []byte("=")); valued && config.IsSecretName(name) {
			b = append(append(b, name...), "=masked"...)
			continue
		}
		b = append(b, pair...)
	}
	return b
}

// Recorded lists the requests that were recorded, oldest first.
func (s *Server) Recorded() []Recorded {
	all := []Recorded{}
	for _, w := range s.workers {
		all = w.recording.appendTo(all)
	}
	slices.SortFunc(all, func(a, b Recorded) int { return a.Time.Compare(b.Time) })
	return all
}

func (r *recording) appendTo(all []Recorded) []Recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		got := r.ring[i].Recorded
		got.Head = string(r.ring[i].head)
		all = append(all, got)
	}
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
