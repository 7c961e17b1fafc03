package vending

import "testing"

func TestTokensMintedTogetherAreNotRenewedTogether(t *testing.T) {
	seen := make(map[float64]bool)
	for range 1000 {
		at := aheadLife(0.5)
		if at < 0.525 || at > 0.6 {
			t.Fatalf("renewed with %v of its life left", at)
		}
		seen[at] = true
	}
	if len(seen) < 900 {
		t.Errorf("%d different times in 1000", len(seen))
	}
}
