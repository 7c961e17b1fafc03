package main

import "testing"

func TestRoomForConnections(t *testing.T) {
	for _, row := range []struct {
		what                               string
		configured, listeners, descriptors int
		database                           bool
		want                               int
	}{
		{"plenty", 10_000, 2, 1 << 20, false, 10_000},
		{"a usual limit: 1024 less 256 and 16 to Telnyx and 64 of its own, for two", 10_000, 2, 1024, false, 344},
		{"a database has some too", 10_000, 2, 1024, true, 336},
		{"the proxy has a listener of its own", 10_000, 3, 1024, false, 229},
		{"half at least", 10_000, 2, 256, false, 64},
		{"what is configured, if that is less", 100, 2, 1024, false, 100},
		{"never none", 10_000, 3, 4, false, 1},
	} {
		s := &service{}
		s.cfg.Limits.Connections, s.cfg.DirectoryConnections = row.configured, 16
		if row.database {
			s.database = &database{}
		}
		if got := s.roomFor(row.listeners, row.descriptors); got != row.want {
			t.Errorf("%s: room for %d, want %d", row.what, got, row.want)
		}
	}
	if n := descriptors(); n < 64 {
		t.Errorf("this process may have %d descriptors, which is hard to believe", n)
	}
}
