//go:build unix

package history_test

import (
	"os/signal"
	"syscall"
)

// limitFiles makes writes beyond 2 KiB of a file fail with EFBIG.
func limitFiles() {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 2048, Max: 2048}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		panic(err)
	}
}
