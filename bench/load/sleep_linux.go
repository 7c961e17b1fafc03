package load

import (
	"syscall"
	"time"
)

// sleepUntil is exact to some 60 µs, where a timer of Go's may be late by 1 ms,
// which is more than what is measured.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		spec := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&spec, nil) // cut short by a signal, it is done again
	}
}
