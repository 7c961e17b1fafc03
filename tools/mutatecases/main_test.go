package main

import (
	"slices"
	"strings"
	"testing"
)

func TestEachConditionIsTurnedRound(t *testing.T) {
	const source = `package p

func f(a, b int, c bool) int {
	switch {
	case a < b && c:
		return 1
	case a == b:
		return 2
	}
	switch a { // of values, which are not conditions
	case 1:
		return 3
	}
	return 4
}
`
	all, err := mutants("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		for n, line := range strings.Split(string(m.source), "\n") {
			if was := strings.Split(source, "\n")[n]; line != was {
				got = append(got, strings.TrimSpace(line))
			}
		}
	}
	want := []string{"case !(a < b && c):", "case !(a < b) && c:", "case a <= b && c:", "case a < b && !(c):", "case !(a == b):"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
