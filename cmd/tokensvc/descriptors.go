package main

import (
	"math"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// reserved descriptors are for files, logs, name servers, keys of issuers, the
	// database in a file, and the cache that replicas share.
	reserved = 64
	// leastConnections are what a listener has whatever the limit is.
	leastConnections = 8
)

// descriptors says how many connections each may have open, so that all of them
// together stay within the limit on open files. With none left, whoever connects to
// us would keep us from connecting to Telnyx.
type descriptors struct {
	callers   int // to each listener for callers
	operators int
	telnyx    int // to Telnyx, for those who wait
	needed    int // for all that is configured
}

// descriptors shares out so many open files.
func (c Config) descriptors(limit uint64) descriptors {
	want := c.Limits.Connections
	listeners, others := 1, reserved+backgroundConnections
	if c.ProxyListen != "" {
		listeners++
	}
	if c.Directory.isDatabase() {
		others += c.DirectoryConnections + 1
	}
	for _, i := range c.Issuers {
		if i.Introspect.isSet() {
			others += authz.MaxQuestions
		}
	}
	d := descriptors{callers: want, operators: want, telnyx: telnyx.DefaultMaxConnections}
	d.needed = (listeners+1)*want + d.telnyx + others
	if limit >= uint64(d.needed) { //nolint:gosec // some thousands
		return d
	}
	has := int(limit)                       //nolint:gosec // less than needed
	d.telnyx = max(min(d.telnyx, has/4), 1) // what all the rest is for
	room := has - others - d.telnyx
	d.operators = min(want, max(room/8, leastConnections))
	d.callers = min(want, max((room-d.operators)/listeners, leastConnections))
	return d
}

// warn says once what was lowered, and what to do.
func (d descriptors) warn(cfg Config, limit uint64, log zerolog.Logger) {
	if d.callers == cfg.Limits.Connections && d.telnyx == telnyx.DefaultMaxConnections { // operators have enough
		return
	}
	log.Warn().Uint64("open_files", limit).Int("needed", d.needed).
		Int("connections", d.callers).Int("ops_connections", d.operators).Int("telnyx_connections", d.telnyx).
		Int("limits.connections", cfg.Limits.Connections).
		Msg("fewer connections than limits.connections are accepted: the limit on open files is too low for it; raise that (ulimit -n, LimitNOFILE, --ulimit nofile) or lower limits.connections")
}

// openFiles is how many files the process may have open. The runtime has raised it to
// the hard limit.
func openFiles() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxInt32 // none that is known
	}
	return l.Cur
}
