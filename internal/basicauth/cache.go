package basicauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// digest stands for a name, a password and the hash they were checked against.
// None of them can be had from it, nor can it be made without the Guard's key.
type digest [sha256.Size]byte

const ways = 4 // entries of a digest's row

// cache remembers digests for a time, in bounded memory: rows of four, where a
// new one takes the place of the one that would have been forgotten first.
type cache struct {
	rows [][ways]atomic.Pointer[remembered]
	keep time.Duration

	mu sync.Mutex // whoever replaces entries; never taken by has
}

type remembered struct {
	digest digest
	until  atomic.Int64 // ns of the Guard's clock
}

// newCache makes room for a number of digests that is a power of two.
func newCache(entries int, keep time.Duration) *cache {
	return &cache{rows: make([][ways]atomic.Pointer[remembered], entries/ways), keep: keep}
}

func (c *cache) row(d *digest) *[ways]atomic.Pointer[remembered] {
	return &c.rows[int(binary.LittleEndian.Uint32(d[:]))&(len(c.rows)-1)]
}

// has reports whether d is remembered. One in use is kept on: what was found out
// about it cannot become untrue, for another hash makes another digest.
func (c *cache) has(d *digest, now time.Duration) bool {
	row := c.row(d)
	for i := range row {
		r := row[i].Load()
		if r == nil || subtle.ConstantTimeCompare(r.digest[:], d[:]) == 0 {
			continue
		}
		left := time.Duration(r.until.Load()) - now
		if left > 0 && left < c.keep/2 { // not at every request: that would be a write that all share
			r.until.Store(int64(now + c.keep))
		}
		return left > 0
	}
	return false
}

// add remembers d.
func (c *cache) add(d *digest, now time.Duration) {
	r := &remembered{digest: *d}
	r.until.Store(int64(now + c.keep))
	c.mu.Lock()
	defer c.mu.Unlock()
	row := c.row(d)
	oldest := 0
	for i := range row {
		was := row[i].Load()
		if was == nil || was.digest == *d {
			oldest = i
			break
		}
		if was.until.Load() < row[oldest].Load().until.Load() {
			oldest = i
		}
	}
	row[oldest].Store(r)
}
