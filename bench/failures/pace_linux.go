package main

import (
	"syscall"
	"time"
)

// pause sleeps for d. The runtime's own sleep is late by up to a millisecond,
// for that is how finely it waits for sockets; this one is late by 0.1 ms.
func pause(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // a signal ends it early, and whoever is early pauses again
}
