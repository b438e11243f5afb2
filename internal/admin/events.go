package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weir/internal/control"
)

// heartbeat is how often a silent stream of events says that it is alive:
// more often than proxies and clients give up on a silent connection.
const heartbeat = 15 * time.Second

// events streams what happens as server-sent events: first those of the last
// few that the client has not seen (Last-Event-ID), then each as it comes,
// until the client goes or Weir ends. A client that reads too slowly misses
// events, which the gap in their IDs tells, and never delays anybody.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return nil
	}
	// Subscribing comes first: an event between the two is then seen twice,
	// and skipped once, instead of lost.
	_, subscribe := a.control.Events()
	coming := subscribe(r.Context())
	past, _ := a.control.Events()

	s := &eventStream{w: w, rc: http.NewResponseController(w)}
	s.last = lastEventID(r, past)
	for _, e := range past {
		s.event(e)
	}
	s.flush()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for s.err == nil {
		select {
		case e, ok := <-coming:
			if !ok {
				return nil
			}
			s.event(e)
		case <-beat.C:
			s.comment("still here")
		case <-r.Context().Done():
			return nil
		}
		s.flush()
	}
	return nil // the client is gone; its error is nobody's
}

// lastEventID is the event up to which a client that comes back has seen
// everything. An ID that is yet to come is one of an earlier process: 0.
func lastEventID(r *http.Request, past []control.Event) uint64 {
	id, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil || len(past) == 0 || id > past[len(past)-1].ID {
		return 0
	}
	return id
}

// eventStream writes server-sent events and remembers the first error.
type eventStream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	last uint64 // ID of the last event that was written
	err  error
}

// event writes one event that was not written yet; its data is the whole of
// it as JSON.
func (s *eventStream) event(e control.Event) {
	if e.ID <= s.last {
		return
	}
	s.last = e.ID
	data, err := json.Marshal(e)
	if err != nil {
		s.fail(err)
		return
	}
	s.print("id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}

// comment writes a line that clients ignore.
func (s *eventStream) comment(text string) { s.print(": %s\n\n", text) }

// print writes, and gives the client until past the next heartbeat to take it.
func (s *eventStream) print(format string, args ...any) {
	if s.err != nil {
		return
	}
	s.fail(s.rc.SetWriteDeadline(time.Now().Add(2 * heartbeat)))
	_, err := fmt.Fprintf(s.w, format, args...)
	s.fail(err)
}

// flush sends what was written.
func (s *eventStream) flush() {
	if s.err == nil {
		s.fail(s.rc.Flush())
	}
}

// fail keeps the first error.
func (s *eventStream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}
