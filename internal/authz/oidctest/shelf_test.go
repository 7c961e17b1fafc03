package oidctest

import (
	"strconv"
	"testing"
)

func TestAShelfKeepsTheNewest(t *testing.T) {
	var s shelf[int]
	for n := range mostKept + 2 {
		s.put(strconv.Itoa(n), n)
	}
	if len(s.kept) != mostKept || len(s.order) != mostKept {
		t.Errorf("%d things in an order of %d, want %d", len(s.kept), len(s.order), mostKept)
	}
	for name, want := range map[string]bool{"0": false, "1": false, "2": true, strconv.Itoa(mostKept + 1): true} {
		if _, ok := s.get(name); ok != want {
			t.Errorf("%s is there: %v, want %v", name, ok, want)
		}
	}
}
