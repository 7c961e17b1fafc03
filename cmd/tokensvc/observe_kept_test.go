package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/vending"
)

func TestWhatIsKeptIsMeasured(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newKeptCollector(measured{
		tokens:      func() vending.Stock { return vending.Stock{Tokens: 1, Bytes: 2, Hits: 3, Misses: 4, Evicted: 5} },
		bearers:     func() authz.Kept { return authz.Kept{Bearers: 6, Bytes: 7, Hits: 8, Misses: 9, Evicted: 10} },
		issuers:     func() map[string]time.Time { return map[string]time.Time{"main": now().Add(time.Hour)} }, // a clock was set back
		keys:        func() []time.Time { return []time.Time{{}, now().Add(time.Minute)} },
		connections: func() store.Connections { return store.Connections{InUse: 11, Idle: 12, Most: 13, Waits: 14} },
	}))
	want := strings.Join([]string{
		`tokensvc_cache_bytes{cache="bearers"} 7`, `tokensvc_cache_bytes{cache="tokens"} 2`,
		`tokensvc_cache_entries{cache="bearers"} 6`, `tokensvc_cache_entries{cache="tokens"} 1`,
		`tokensvc_cache_evictions_total{cache="bearers"} 10`, `tokensvc_cache_evictions_total{cache="tokens"} 5`,
		`tokensvc_cache_lookups_total{cache="bearers",result="hit"} 8`, `tokensvc_cache_lookups_total{cache="bearers",result="miss"} 9`,
		`tokensvc_cache_lookups_total{cache="tokens",result="hit"} 3`, `tokensvc_cache_lookups_total{cache="tokens",result="miss"} 4`,
		`tokensvc_directory_connections{state="idle"} 12`, `tokensvc_directory_connections{state="in_use"} 11`,
		`tokensvc_directory_connections_max 13`, `tokensvc_directory_waits_total 14`,
		`tokensvc_issuer_keys_age_seconds{issuer="main"} 0`, `tokensvc_telnyx_key_age_seconds{key="1"} 0`,
	}, "\n")
	if diff := cmp.Diff(want, shownBy(t, registry)); diff != "" {
		t.Errorf("wanted (-), shown (+):\n%s", diff)
	}
}

// shownBy is what a registry shows, without its comments.
func shownBy(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return strings.TrimSpace(regexp.MustCompile("(?m)^#.*\n").ReplaceAllString(w.Body.String(), ""))
}

// A key is as old as the file that it was read from, and one that is refused makes the
// last good one no younger.
func TestAnAPIKeyIsAsOldAsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	put := func(text string, at time.Time) {
		t.Helper()
		writeKey(t, path, text)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	first := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	put(testKey, first)
	f, err := openSecretFile(path, readAPIKey)
	if err != nil {
		t.Fatal(err)
	}
	keys := secretFiles{f, newSecretFile("", nil, f.Text())}
	for _, step := range []struct {
		what, text string
		changed    time.Time
		want       time.Time
	}{
		{"as it was opened", testKey, first, first},
		{"touched, and the same", testKey, first.Add(time.Hour), first},
		{"half a file", "two words", first.Add(2 * time.Hour), first},
		{"another key", testKey + "2", first.Add(3 * time.Hour), first.Add(3 * time.Hour)},
	} {
		put(step.text, step.changed)
		f.readAgain()
		if got := keys.dates(); !got[0].Equal(step.want) || !got[1].IsZero() {
			t.Errorf("%s: of %v, want %v and none for the variable's", step.what, got, step.want)
		}
	}
}
