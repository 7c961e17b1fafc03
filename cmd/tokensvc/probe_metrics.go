package main

import (
	"bytes"
	"fmt"
	"time"
)

// replaceMetrics writes what was found in Prometheus' text format, whole or not at
// all, so that a collector never reads a half.
func replaceMetrics(path string, found []finding, at time.Time) error {
	return replace(path, metricsOf(found, at), 0o644) // the collector is somebody else, and there is no secret in it
}

func metricsOf(found []finding, at time.Time) []byte {
	var b bytes.Buffer
	family := func(name, help string, value func(f finding) (float64, bool)) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		for _, f := range found {
			if v, ok := value(f); ok {
				fmt.Fprintf(&b, "%s{check=%q} %g\n", name, f.check, v)
			}
		}
	}
	is := func(want verdict) func(f finding) (float64, bool) {
		return func(f finding) (float64, bool) {
			if f.verdict == want {
				return 1, true
			}
			return 0, f.verdict != skipped
		}
	}
	family("tokensvc_probe_passed", "Whether a check came out as it should.", is(passed))
	family("tokensvc_probe_exposed", "Whether something was not refused that must be.", is(exposed))
	family("tokensvc_probe_seconds", "How long a check took.", func(f finding) (float64, bool) {
		return f.took.Seconds(), f.verdict != skipped
	})
	const finished = "tokensvc_probe_finished_timestamp_seconds"
	fmt.Fprintf(&b, "# HELP %s When the probe last ran to its end.\n# TYPE %s gauge\n%s %d\n", finished, finished, finished, at.Unix())
	return b.Bytes()
}
