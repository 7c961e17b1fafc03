package handler

import (
	"slices"
	"strings"
	"testing"
)

func FuzzETags(f *testing.F) {
	for _, seed := range []string{``, `"1"`, `"1", "2"`, `"1""2"`, `W/"1"`, `*`, `"`, `"a,b"`, ` ,, "7" , `, `"1"x`, `"-1"`, `"+1"`, `"99999999999999999999"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		versions, ok := versionsOf(list)
		switch {
		case ok != (len(versions) > 0):
			t.Errorf("%q: %v, though it is %v", list, versions, ok)
		case slices.ContainsFunc(versions, func(v int64) bool { return v != notOurs && !strings.Contains(list, etag(v)) }):
			t.Errorf("%q has no such tag among %v", list, versions)
		case ok && strings.Count(list, `"`) != 2*len(versions):
			t.Errorf("%q: %d tags", list, len(versions))
		}
	})
}
