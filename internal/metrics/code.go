package metrics

import "strconv"

// knownCodes get a label value of their own. Others are counted by their class,
// so that a backend that answers with invented numbers cannot make series.
var knownCodes = [...]int{
	100, 101, 102, 103,
	200, 201, 202, 203, 204, 205, 206, 207, 208, 226,
	300, 301, 302, 303, 304, 305, 307, 308,
	400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418,
	421, 422, 423, 424, 425, 426, 428, 429, 431, 451, statusClientClosed,
	500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
}

// The slots after those of the known codes: one for each class, then the rest.
const (
	classSlot = len(knownCodes)
	otherSlot = classSlot + 5
	codeSlots = otherSlot + 1
	maxStatus = 599
)

var (
	slotOfCode = slots()
	codeLabels = labels()
)

func slots() (of [maxStatus + 1]uint8) {
	for status := range of {
		of[status] = uint8(otherSlot)
		if class := status / 100; class >= 1 {
			of[status] = uint8(classSlot + class - 1)
		}
	}
	for slot, status := range knownCodes {
		of[status] = uint8(slot)
	}
	return of
}

func labels() (text [codeSlots]string) {
	for slot, status := range knownCodes {
		text[slot] = strconv.Itoa(status)
	}
	for class := range 5 {
		text[classSlot+class] = strconv.Itoa(class+1) + "xx"
	}
	text[otherSlot] = "other"
	return text
}

// codeCounters counts answers by status.
type codeCounters [codeSlots]counter

func (c *codeCounters) add(status int) {
	slot := uint8(otherSlot)
	if uint(status) <= maxStatus {
		slot = slotOfCode[status]
	}
	c[slot].add(1)
}

func (c *codeCounters) sum() (n uint64) {
	for slot := range c {
		n += c[slot].load()
	}
	return n
}
