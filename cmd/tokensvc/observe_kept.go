package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// measured is what the metrics ask when somebody reads them. Each may be asked from
// any goroutine, and must not wait.
type measured struct {
	tokens      func() vending.Stock
	bearers     func() authz.Kept
	issuers     func() map[string]time.Time // when last fetched, by name
	keys        func() []time.Time          // when each API key was changed; zero if that is not known
	connections func() store.Connections    // nil if the directory is no database
}

// keptCollector has the metrics of what is kept, and of how old it is.
type keptCollector struct {
	measured
	entries, bytes, lookups, evictions *prometheus.Desc
	keyAge, issuerAge                  *prometheus.Desc
	connections, most, waits           *prometheus.Desc
}

func newKeptCollector(of measured) *keptCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &keptCollector{
		measured:  of,
		entries:   desc("tokensvc_cache_entries", "Entries of a cache: tokens, or verified bearers.", "cache"),
		bytes:     desc("tokensvc_cache_bytes", "About what the entries of a cache take.", "cache"),
		lookups:   desc("tokensvc_cache_lookups_total", "Looks into a cache by whether there was an entry, usable or not.", "cache", "result"),
		evictions: desc("tokensvc_cache_evictions_total", "Entries that had to make room for others.", "cache"),
		keyAge:    desc("tokensvc_telnyx_key_age_seconds", "Time since the file of the API key at this place was changed, by the date of the file.", "key"),
		issuerAge: desc("tokensvc_issuer_keys_age_seconds", "Time since an issuer's keys, or the address of its introspection, were last fetched.", "issuer"),
		connections: desc("tokensvc_directory_connections",
			"Connections to the directory's database.", "state"),
		most:  desc("tokensvc_directory_connections_max", "How many there may be, at work or idle."),
		waits: desc("tokensvc_directory_waits_total", "How often somebody had to wait for a connection."),
	}
}

// Describe implements prometheus.Collector.
func (c *keptCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.entries, c.bytes, c.lookups, c.evictions, c.keyAge, c.issuerAge, c.connections, c.most, c.waits,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *keptCollector) Collect(to chan<- prometheus.Metric) {
	t, b := c.tokens(), c.bearers()
	c.cache(to, "tokens", t.Tokens, t.Bytes, t.Hits, t.Misses, t.Evicted)
	c.cache(to, "bearers", b.Bearers, b.Bytes, b.Hits, b.Misses, b.Evicted)
	for name, when := range c.issuers() {
		gauge(to, c.issuerAge, age(when), name)
	}
	for i, when := range c.keys() {
		if !when.IsZero() {
			gauge(to, c.keyAge, age(when), strconv.Itoa(i))
		}
	}
	if c.measured.connections == nil {
		return
	}
	all := c.measured.connections()
	gauge(to, c.connections, float64(all.InUse), "in_use")
	gauge(to, c.connections, float64(all.Idle), "idle")
	gauge(to, c.most, float64(all.Most))
	counter(to, c.waits, float64(all.Waits))
}

func (c *keptCollector) cache(to chan<- prometheus.Metric, name string, entries int, bytes, hits, misses, evicted uint64) {
	gauge(to, c.entries, float64(entries), name)
	gauge(to, c.bytes, float64(bytes), name)
	counter(to, c.lookups, float64(hits), name, "hit")
	counter(to, c.lookups, float64(misses), name, "miss")
	counter(to, c.evictions, float64(evicted), name)
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// age is how long ago something was, in seconds. A file may be dated in the future.
func age(when time.Time) float64 { return max(now().Sub(when), 0).Seconds() }

// measured is what of the service is to be measured.
func (s *service) measured() measured {
	m := measured{tokens: s.machine.Stock, bearers: s.verifier.Kept, issuers: s.verifier.Fetched, keys: s.keys.dates}
	if s.database != nil {
		m.connections = s.database.store.Connections
	}
	return m
}
