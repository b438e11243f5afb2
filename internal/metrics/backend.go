package metrics

import (
	"maps"
	"sync"
	"time"
)

// Backend counts what Weir and one backend do with each other.
type Backend struct {
	loops   perLoop[backendLoop]
	holders int // calls of Registry.Backend less those of RemoveBackend; guarded by Registry.mu

	// Probes and ejections are rare: one copy does for all loops.
	passed, failed counter
	probes         histogram

	mu         sync.Mutex // whoever ejects or scrapes
	ejected    map[string]uint64
	wouldEject map[string]uint64
}

// backendLoop is one loop's part.
type backendLoop struct {
	codes     codeCounters
	durations histogram
	connects  histogram
	errors    reasonCounters
	idle      gauge
	active    gauge
}

func newBackend(loops int) *Backend {
	return &Backend{loops: newPerLoop[backendLoop](loops), ejected: make(map[string]uint64), wouldEject: make(map[string]uint64)}
}

// Observe counts an answer of the backend: its status and the time from the
// attempt's begin to the end of the answer's header.
func (b *Backend) Observe(loop, status int, d time.Duration) {
	l := b.loops.of(loop)
	l.codes.add(status)
	l.durations.observe(d)
}

// Connected records how long it took to open a connection to the backend.
func (b *Backend) Connected(loop int, d time.Duration) { b.loops.of(loop).connects.observe(d) }

// Error counts an attempt that brought no usable answer.
func (b *Backend) Error(loop int, reason Reason) { b.loops.of(loop).errors.add(reason) }

// Conns changes how many connections to the backend wait unused and how many
// serve a request.
func (b *Backend) Conns(loop, idleDelta, activeDelta int) {
	l := b.loops.of(loop)
	if idleDelta != 0 {
		l.idle.add(idleDelta)
	}
	if activeDelta != 0 {
		l.active.add(activeDelta)
	}
}

// Probe counts an active health check and how long it took.
func (b *Backend) Probe(ok bool, d time.Duration) {
	if ok {
		b.passed.add(1)
	} else {
		b.failed.add(1)
	}
	b.probes.observe(d)
}

// Ejected counts that traffic took the backend out, and why.
func (b *Backend) Ejected(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ejected[reason]++
}

// WouldEject counts that traffic would have taken the backend out, had it been
// allowed to, and why.
func (b *Backend) WouldEject(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wouldEject[reason]++
}

func (b *Backend) ejections() (real, would map[string]uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.ejected), maps.Clone(b.wouldEject)
}
