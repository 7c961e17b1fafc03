package load

import (
	"math/bits"
	"time"
)

// perOctave is into how many buckets a doubling of the time is cut: a quantile is
// off by 3 % at most.
const perOctave = 32

// A Histogram counts how long answers took, in buckets that grow with the time.
// The zero value is empty.
type Histogram struct {
	buckets [64 * perOctave]int64
	count   int64
}

// Add counts one answer.
func (h *Histogram) Add(d time.Duration) {
	h.buckets[bucketOf(uint64(max(0, d)))]++
	h.count++
}

// Merge adds what another has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.count += other.count
}

// Count is how many answers there were.
func (h *Histogram) Count() int64 { return h.count }

// Quantile is the time within which that share of the answers came, 0 if there
// were none.
func (h *Histogram) Quantile(share float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	want := min(int64(share*float64(h.count)), h.count-1)
	for i, n := range h.buckets {
		if want < n {
			return time.Duration(topOf(i)) //nolint:gosec // below 2^63, as what was added
		}
		want -= n
	}
	return 0 // not reached: the buckets hold as many as were counted
}

// bucketOf is linear below perOctave, and from there on by the highest bits.
func bucketOf(ns uint64) int {
	if ns < perOctave {
		return int(ns)
	}
	shift := bits.Len64(ns) - bits.Len64(perOctave)
	return shift*perOctave + int(ns>>shift) //nolint:gosec // below 2·perOctave
}

// topOf is the most that goes into a bucket.
func topOf(bucket int) uint64 {
	if bucket < 2*perOctave {
		return uint64(bucket) //nolint:gosec // not negative
	}
	shift := bucket/perOctave - 1
	return uint64(bucket-shift*perOctave+1)<<shift - 1 //nolint:gosec // not negative
}
