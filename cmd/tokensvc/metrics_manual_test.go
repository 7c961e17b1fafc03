package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `(tokensvc_[a-z_]+)` \\| (?:counter|gauge|histogram) \\| (.*?) \\| ")
	metricDesc = regexp.MustCompile(`^Desc\{fqName: "(tokensvc_[a-z_]+)", .*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	constLabel = regexp.MustCompile(`([a-z_]+)="`)
	labelName  = regexp.MustCompile(`[a-z_]+`)
)

// The manual of metrics has every metric with its labels, and no other.
func TestMetricsManualHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("../../docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	manual := map[string][]string{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		if _, twice := manual[row[1]]; twice {
			t.Errorf("%s is there twice", row[1])
		}
		manual[row[1]] = slices.Sorted(slices.Values(labelName.FindAllString(row[2], -1)))
	}
	if diff := cmp.Diff(registeredMetrics(), manual); diff != "" {
		t.Errorf("registered (-), in docs/metrics.md (+):\n%s", diff)
	}
}

// registeredMetrics are all metrics that a service may have, with their labels: from
// their descriptions, because what has not happened yet is not in /metrics.
func registeredMetrics() map[string][]string {
	registry := newRegistry()
	newObserver(zerolog.Nop(), registry)
	newTLSObserver(registry)
	newSharedObserver(zerolog.Nop(), registry)
	measurePace(registry, func() pacing.State { return pacing.State{} })
	measureConnections(registry, 0)
	registry.MustRegister(newKeyCollector(func() telnyx.State { return telnyx.State{} }))
	registry.MustRegister(newKeptCollector(measured{}))
	registry.MustRegister(newAuditCollector(func() audit.State { return audit.State{} }))
	newSpanObserver(zerolog.Nop(), registry)
	handler.NewMetrics(registry)

	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	all := map[string][]string{}
	for d := range descs {
		parts := metricDesc.FindStringSubmatch(d.String())
		if parts == nil { // the Go runtime's, or the process's
			continue
		}
		labels := map[string]bool{}
		for _, l := range constLabel.FindAllStringSubmatch(parts[2], -1) {
			labels[l[1]] = true
		}
		for _, l := range labelName.FindAllString(parts[3], -1) {
			labels[l] = true
		}
		all[parts[1]] = slices.Sorted(maps.Keys(labels))
	}
	return all
}

// What a service shows of itself is registered there too.
func TestMetricsManualKnowsWhatAServiceShows(t *testing.T) {
	w := httptest.NewRecorder()
	openProxied(t).ops.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	shown := regexp.MustCompile("(?m)^# TYPE (tokensvc_[a-z_]+) ").FindAllStringSubmatch(w.Body.String(), -1)
	known := registeredMetrics()
	for _, m := range shown {
		if _, ok := known[m[1]]; !ok {
			t.Errorf("%s is in /metrics, and registeredMetrics does not know it", m[1])
		}
	}
	if len(shown) == 0 {
		t.Error("/metrics has nothing of ours")
	}
}
