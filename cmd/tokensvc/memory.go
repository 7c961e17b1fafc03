package main

import (
	"errors"
	"math"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/vending"
)

const (
	// leastTokenBytes is for some thousand tokens, however little memory there is.
	leastTokenBytes = 4 << 20
)

// limitMemory has the runtime keep to nine tenths of what the process's cgroup may
// have, unless GOMEMLIMIT says something else: it collects garbage more often before
// the kernel ends the process. The tenth is for what the runtime does not count.
func limitMemory(environ []string, ofCgroup func() (uint64, error), log zerolog.Logger) {
	if slices.ContainsFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, "GOMEMLIMIT=") }) {
		log.Info().Int64("bytes", debug.SetMemoryLimit(-1)).Str("by", "GOMEMLIMIT").Msg("memory limit")
		return
	}
	limit, err := ofCgroup()
	switch {
	case errors.Is(err, memlimit.ErrNoLimit), err == nil && limit >= math.MaxInt64:
		return
	case err != nil: // no cgroups here, or not ours to read
		log.Debug().Err(err).Msg("the cgroup's memory limit cannot be had")
		return
	}
	bytes := int64(limit / 10 * 9) //nolint:gosec // less than the most there is, see above
	debug.SetMemoryLimit(bytes)
	log.Info().Int64("bytes", bytes).Str("by", "cgroup").Msg("memory limit")
}

// tokenBytes is what the tokens that are kept may take of the memory: a third, so
// that there is as much for the garbage between two collections, and for the rest.
func tokenBytes(limit int64) int64 {
	return min(max(limit/3, leastTokenBytes), vending.DefaultMaxBytes)
}
