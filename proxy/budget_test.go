package proxy

import "testing"

func TestRetryBudget(t *testing.T) {
	var b retryBudget
	spend := func(now int64, percent int) bool {
		if !b.allows(now, percent) {
			return false
		}
		b.retry(now)
		return true
	}
	// the floor: three a second, over ten seconds, however few ask
	for i := range budgetFloor * budgetSeconds {
		if !spend(1000, 20) {
			t.Fatalf("retry %d was refused", i)
		}
	}
	if spend(1000, 20) {
		t.Error("one more than the floor was allowed")
	}
	// the share: a fifth of a thousand, with what was spent already
	for range 1000 {
		b.request(1004)
	}
	spent := budgetFloor * budgetSeconds
	for spend(1005, 20) {
		spent++
	}
	if spent != 200 {
		t.Errorf("%d retries of 1000 requests, want 200", spent)
	}
	// ten seconds later the old ones are forgotten, requests as well
	if !spend(1010, 20) {
		t.Error("the retries of ten seconds ago still count")
	}
	if b.idle(1014) || !b.idle(1020) {
		t.Error("idle is wrong")
	}
	// none but the floor
	b = retryBudget{}
	for range 10_000 {
		b.request(5)
	}
	spent = 0
	for spend(5, 0) {
		spent++
	}
	if spent != budgetFloor*budgetSeconds {
		t.Errorf("%d retries with a budget of 0 percent", spent)
	}
}

func TestHashBytes(t *testing.T) {
	// the same after every restart
	if h := hashBytes([]byte("a key")); h != hashBytes([]byte("a key")) || h == hashBytes([]byte("a kez")) {
		t.Errorf("%x", h)
	}
	// all bits of short keys differ
	var ones [64]int
	const n = 4096
	for i := range n {
		h := hashBytes([]byte{byte(i), byte(i >> 8)})
		for bit := range ones {
			ones[bit] += int(h >> bit & 1)
		}
	}
	for bit, c := range ones {
		if c < n*2/5 || c > n*3/5 {
			t.Errorf("bit %d is set in %d of %d", bit, c, n)
		}
	}
}
