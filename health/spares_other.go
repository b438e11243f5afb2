//go:build !unix

package health

import "math"

// MaxSpares is how many connections probes may keep in this process.
func MaxSpares() int64 { return math.MaxInt64 }
