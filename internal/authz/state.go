package authz

import "time"

// Kept is what a Verifier keeps of bearers that it has verified, and what has come
// of it.
type Kept struct {
	Bearers int    // kept at this moment, or about so many
	Bytes   uint64 // that they take, as Config.CacheBytes counts them
	// Hits and Misses are bearers that were known, or not.
	Hits, Misses uint64
	// Evicted are bearers that had to make room for others, not those that expired.
	Evicted uint64
}

// Kept says how it stands with what is kept.
func (v *Verifier) Kept() Kept {
	v.verified.CleanUp() // counts what was kept a moment ago
	counted := v.verified.Stats()
	return Kept{
		Bearers: v.verified.EstimatedSize(), Bytes: v.verified.WeightedSize(),
		Hits: counted.Hits, Misses: counted.Misses, Evicted: counted.Evictions,
	}
}

// Fetched returns when that was last fetched which is needed of each issuer, by the
// issuers' names. One of which nothing was fetched yet, or nothing is, because it is
// in a file or in the configuration, is missing.
func (v *Verifier) Fetched() map[string]time.Time {
	all := make(map[string]time.Time, len(v.issuers))
	for _, t := range v.issuers {
		if when := t.fetched(); !when.IsZero() {
			all[t.Name] = when
		}
	}
	return all
}
