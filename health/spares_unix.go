//go:build unix

package health

import (
	"math"
	"syscall"
)

// MaxSpares is how many connections probes may keep in this process: half of the
// files that it may open. The other half is for traffic.
func MaxSpares() int64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int64(min(uint64(limit.Cur)/2, math.MaxInt64))
}
