package handler

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestReadinessIsReportedAndNotChanged(t *testing.T) {
	parts := map[string]string{"directory": "ok"}
	o := NewOps(func() Readiness { return Readiness{Ready: true, Parts: parts} }, prometheus.NewRegistry())
	before := maps.Clone(parts)
	o.Stopping()
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"service":"stopping"`) || !strings.Contains(w.Body.String(), `"directory":"ok"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !maps.Equal(parts, before) {
		t.Errorf("the parts have become %v", parts)
	}
}
