package loop

import (
	"bytes"
	"runtime"
	"strconv"
	"time"
)

const (
	stallAfter   = 100 * time.Millisecond
	stallLook    = stallAfter / 2   // so a stall is noticed after 150 ms at most
	stallStacks  = 10 * time.Second // a dump of all stacks stops the world: not more often
	stallDumpMax = 16 << 20         // bytes
)

// watch reports loops that do not come back until the group closes.
func (g *Group) watch() {
	reported := make([]int64, len(g.loops)) // the batch a loop was last reported in
	var dumped time.Time
	tick := time.NewTicker(stallLook)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-tick.C:
		}
		for i, l := range g.loops {
			batch := l.awake.Load()
			stalled := time.Duration(g.since(time.Now()) - batch)
			if batch <= 0 || batch == reported[i] || stalled < stallAfter {
				continue
			}
			reported[i] = batch
			var stack []byte
			if now := time.Now(); dumped.IsZero() || now.Sub(dumped) >= stallStacks {
				dumped = now
				stack = stackOf(l.running.Load())
			}
			g.o.Stall(i, stalled, stack)
		}
	}
}

// stackOf is the stack of the goroutine with that id; nil if it is not found.
// There is no call for one other goroutine, so all are dumped.
func stackOf(id uint64) []byte {
	head := append(strconv.AppendUint([]byte("goroutine "), id, 10), ' ')
	for size := 64 << 10; size <= stallDumpMax; size *= 4 {
		dump := make([]byte, size)
		n := runtime.Stack(dump, true)
		for part := range bytes.SplitSeq(dump[:n], []byte("\n\n")) {
			if bytes.HasPrefix(part, head) && (n < size || len(part) < n) {
				return bytes.Clone(part)
			}
		}
		if n < size {
			break
		}
	}
	return nil
}
