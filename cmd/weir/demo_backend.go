package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// demoBackend is one of the demo's HTTP servers.
type demoBackend struct {
	name    string
	about   string
	weight  int
	fastest time.Duration
	slowest time.Duration
	moods   []mood // repeated; empty: always well

	address string

	mu     sync.Mutex // guards what comes and goes with the moods
	server *http.Server
	now    string // the mood's name, for the view
	cancel context.CancelFunc
	acting sync.WaitGroup
}

// mood is how a backend behaves for a while.
type mood struct {
	what string
	long time.Duration
}

// What a mood can be.
const (
	well    = "well"
	errs    = "answers 503"
	refuses = "refuses connections"
)

// demoCast is the demo's backends. The flaky one shows both ways of being
// taken out: errors in real traffic, and probes that find nobody.
func demoCast() []*demoBackend {
	return []*demoBackend{
		{name: "steady", about: "answers within 5 to 15 ms", weight: 5, fastest: 5 * time.Millisecond, slowest: 15 * time.Millisecond},
		{name: "slow", about: "takes 60 to 120 ms", weight: 3, fastest: 60 * time.Millisecond, slowest: 120 * time.Millisecond},
		{
			name: "flaky", about: "answers 503 or refuses connections every now and then", weight: 2,
			fastest: 5 * time.Millisecond, slowest: 15 * time.Millisecond,
			moods: []mood{{well, 5 * time.Second}, {errs, 6 * time.Second}, {well, 12 * time.Second}, {refuses, 6 * time.Second}, {well, 7 * time.Second}},
		},
	}
}

// open listens on a free port and serves.
func (b *demoBackend) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	address := b.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	b.address, b.now = ln.Addr().String(), well
	b.server = &http.Server{Handler: http.HandlerFunc(b.answer)}
	server := b.server
	b.acting.Go(func() { _ = server.Serve(ln) }) // ends with the server
	return nil
}

// answer takes as long as the backend takes and says who it is.
func (b *demoBackend) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Backend", b.name)
	if r.URL.Path == "/healthz" { // it believes to be well, even when it is not
		return
	}
	pause := time.NewTimer(b.fastest + rand.N(b.slowest-b.fastest))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-r.Context().Done():
		return
	}
	if b.mood() == errs {
		http.Error(w, b.name+" has a bad day", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintf(w, "This is %s, at %s.\n", b.name, b.address)
}

// mood says how the backend behaves now.
func (b *demoBackend) mood() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// begin starts the moods.
func (b *demoBackend) begin(start time.Time) {
	if len(b.moods) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.acting.Go(func() { b.act(ctx, start) })
}

// act goes through the moods until ctx ends.
func (b *demoBackend) act(ctx context.Context, next time.Time) {
	for i := 0; ; i++ {
		m := b.moods[i%len(b.moods)]
		b.turn(m.what)
		next = next.Add(m.long)
		wait := time.NewTimer(time.Until(next))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

// turn changes the mood. One that refuses has closed its listener, and listens
// again when it is well.
func (b *demoBackend) turn(what string) {
	b.mu.Lock()
	before, server := b.now, b.server
	b.now = what
	b.mu.Unlock()
	switch {
	case what == refuses:
		_ = server.Close()
	case before == refuses:
		if err := b.open(); err != nil { // somebody took the port: stay away
			b.mu.Lock()
			b.now = refuses
			b.mu.Unlock()
		}
	}
}

// close ends the backend and waits for it.
func (b *demoBackend) close() {
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Lock()
	server := b.server
	b.mu.Unlock()
	_ = server.Close()
	b.acting.Wait()
}

// label is a name with its address, for tables.
func (d *demo) label(address string) string {
	for _, b := range d.backends {
		if b.address == address {
			return fmt.Sprintf("%-6s %s", b.name, address)
		}
	}
	return address
}

// ill is what the backend at address suffers from now, as the demo knows it.
func (d *demo) ill(address string) string {
	for _, b := range d.backends {
		if b.address == address && b.mood() != well {
			return b.mood()
		}
	}
	return ""
}

// named replaces the addresses in text by the backends' names.
func (d *demo) named(text string) string {
	for _, b := range d.backends {
		text = strings.ReplaceAll(text, b.address, b.name)
	}
	return text
}
