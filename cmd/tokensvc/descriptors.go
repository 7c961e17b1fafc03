package main

import (
	"math"
	"syscall"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// ownDescriptors is what is kept free for everything but callers and Telnyx:
// issuers, the database, the Redis, files that are read again.
const ownDescriptors = 64

// descriptors is how many the process may have open. Go has raised it as far as
// it may be raised.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur) //nolint:gosec // it is small
}

// roomFor is how many connections each of so many listeners may have open: what the
// configuration says, or less if descriptors are scarce. Whoever opens connections
// and says nothing must not take those with which Telnyx is asked.
func (s *service) roomFor(listeners, descriptors int) int {
	reserved := telnyx.DefaultMaxConnections + backgroundConnections + ownDescriptors
	if s.database != nil {
		reserved += s.cfg.DirectoryConnections
	}
	free := max(descriptors-reserved, descriptors/2)
	return max(min(s.cfg.Limits.Connections, free/listeners), 1)
}
