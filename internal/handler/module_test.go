package handler_test

import (
	"net/http"
	"testing"

	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestTheModuleForBrowsersIsServed(t *testing.T) {
	const page = "https://phone.example.com"
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Origins = []string{page} })
	got := h.call(http.MethodGet, "/client.js", "Origin", page, "Range", "bytes=0-1")
	etag := got.header.Get("ETag")
	if got.status != http.StatusOK || string(got.body) != string(clientModule) {
		t.Errorf("answered %d %q", got.status, got.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache", "Access-Control-Allow-Origin": page,
		"X-Content-Type-Options": "nosniff",
	} {
		if value := got.header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	for _, c := range []struct {
		method, ifNoneMatch string
		status              int
		body                string
	}{
		{http.MethodGet, etag, http.StatusNotModified, ""},
		{http.MethodGet, `"another", ` + etag, http.StatusNotModified, ""},
		{http.MethodGet, "W/" + etag, http.StatusNotModified, ""}, // as a compressing proxy makes of it
		{http.MethodGet, `"another"`, http.StatusOK, string(clientModule)},
		{http.MethodHead, "", http.StatusOK, ""},
	} {
		got := h.call(c.method, "/client.js", "If-None-Match", c.ifNoneMatch)
		if got.status != c.status || string(got.body) != c.body || got.header.Get("ETag") != etag {
			t.Errorf("%s if none match %s: answered %d %q with ETag %s", c.method, c.ifNoneMatch, got.status, got.body, got.header.Get("ETag"))
		}
	}
	if got := h.call(http.MethodGet, "/client.js", "Origin", "https://elsewhere.example.com"); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("pages of any origin may have it")
	}
	if h.log.String() != "" {
		t.Errorf("it was logged: %s", h.log)
	}
}

func TestAnotherModuleHasAnotherETag(t *testing.T) {
	etag := func(module string) string {
		h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.ClientModule = []byte(module) })
		return h.call(http.MethodGet, "/client.js").header.Get("ETag")
	}
	if etag("export {}") == etag("export {};") {
		t.Error("two modules have one ETag")
	}
}
