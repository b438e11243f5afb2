package health

// planned is a probe and when it is to begin, in nanoseconds since Pace.epoch.
type planned struct {
	at int64
	pr *probe
}

// queue is a heap: the first is due first. With four children to a parent, which
// lie together in memory, it is only half as deep as it would be with two.
type queue []planned

func (q *queue) push(x planned) {
	*q = append(*q, x)
	h := *q
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent].at <= x.at {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = x
}

// pop removes the first. There must be one.
func (q *queue) pop() planned {
	h := *q
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = planned{}
	*q = h[:len(h)-1]
	if len(*q) > 0 {
		q.sink(0, last)
	}
	return first
}

// sink puts x where it belongs at or below i, whose entry it replaces.
func (q *queue) sink(i int, x planned) {
	h := *q
	for {
		least := 4*i + 1
		if least >= len(h) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h)); c++ {
			if h[c].at < h[least].at {
				least = c
			}
		}
		if x.at <= h[least].at {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = x
}

// sweep removes what has been stopped. Pace.mu is held.
func (q *queue) sweep() {
	h := *q
	kept := h[:0]
	for _, x := range h {
		if !x.pr.stopped {
			kept = append(kept, x)
		}
	}
	clear(h[len(kept):])
	*q = kept
	for i := min(len(kept)/4, len(kept)-1); i >= 0; i-- {
		q.sink(i, kept[i])
	}
}
