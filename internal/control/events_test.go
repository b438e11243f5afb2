package control

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e events
		ctx, cancel := context.WithCancel(t.Context())
		one, other := e.subscribe(ctx), e.subscribe(t.Context())
		for range eventsKept + 10 { // more than anybody keeps; nobody reads
			e.send(Event{Kind: "backend"})
		}
		past := e.history()
		if len(past) != eventsKept || past[0].ID != 11 || past[eventsKept-1].ID != eventsKept+10 {
			t.Errorf("%d events from %d to %d are remembered", len(past), past[0].ID, past[len(past)-1].ID)
		}
		if first := <-one; first.ID != 1 || first.Time.IsZero() {
			t.Errorf("the first event is %+v", first)
		}
		e.send(Event{Kind: "applied"}) // there is room again
		var last Event
		for range eventsQueued {
			last = <-one
		}
		if last.ID != eventsKept+11 || last.Kind != "applied" {
			t.Errorf("the last event is %+v, want the one after the gap", last)
		}
		cancel()
		synctest.Wait()
		if _, open := <-one; open {
			t.Error("a subscription outlives its context")
		}
		e.send(Event{Kind: "applied"})
		e.close()
		for range other { // what was queued, then the end
		}
		if _, open := <-e.subscribe(t.Context()); open {
			t.Error("a subscription after the end is open")
		}
	})
}
