package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What belongs to a collector, and where its headers may be sent.
func TestConfigTracingPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "headers")
	writeKey(t, path, "X-Api-Key: s3cret\n")
	headers := "TOKENSVC_TRACING_HEADERS_FILE=" + path
	endpoint := func(url string) string { return "TOKENSVC_TRACING_ENDPOINT=" + url }

	for _, row := range []struct {
		name    string
		environ []string
		want    []string
	}{
		{"a collector beside it", []string{endpoint("http://collector:4318")}, nil},
		{"one that wants a key", []string{endpoint("https://collector.example.com"), headers}, nil},
		{"one that wants a key, on loopback", []string{endpoint("http://127.0.0.1:4318"), headers}, nil},
		{"a key in the clear", []string{endpoint("http://collector:4318"), headers}, []string{
			"TOKENSVC_TRACING_ENDPOINT: must be https, or http on a loopback address: the headers of tracing.headers_file travel there",
		}},
		{"gRPC's address", []string{endpoint("collector:4317")}, []string{"TOKENSVC_TRACING_ENDPOINT: must be an http or https URL"}},
		{"a key in the address", []string{endpoint("https://collector/?key=s3cret")}, []string{
			"TOKENSVC_TRACING_ENDPOINT: must have no user information, query or fragment",
		}},
		{"a share of nothing", []string{"TOKENSVC_TRACING_SAMPLE=0.5"}, []string{"TOKENSVC_TRACING_SAMPLE: has no use: there is no tracing.endpoint"}},
		{"headers of nothing", []string{headers}, []string{"TOKENSVC_TRACING_HEADERS_FILE: has no use: there is no tracing.endpoint"}},
		{"more than all", []string{endpoint("http://collector"), "TOKENSVC_TRACING_SAMPLE=1.5"}, []string{"TOKENSVC_TRACING_SAMPLE: must be a number from 0 to 1"}},
		{"no number", []string{endpoint("http://collector"), "TOKENSVC_TRACING_SAMPLE=NaN"}, []string{"TOKENSVC_TRACING_SAMPLE: must be a number from 0 to 1"}},
		{"everybody's word", []string{endpoint("http://collector"), "TOKENSVC_TRACING_TRUST_PARENT=true"}, []string{"TOKENSVC_TRACING_TRUST_PARENT: must be one of proxies, anybody"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, problemLines(t, "", withEnviron(row.environ...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigTracingHeaders(t *testing.T) {
	const form = "each of its lines must be Name: value; line "
	for _, row := range []struct{ name, content, want string }{
		{"one", "X-Api-Key: s3cret", ""},
		{"two, as Windows writes them", "x-api-key: s3cret\r\nX-Tenant:7\r\n", ""},
		{"none", "\n", form + "1 is not"},
		{"a key alone", "s3cret", form + "1 is not"},
		{"no value", "X-Api-Key: s3cret\nX-Tenant:", form + "2 is not"},
		{"a name with a space", "X Api Key: s3cret", form + "1 is not"},
		{"a value that is none", "X-Api-Key: s3\x01cret", form + "1 is not"},
		{"seventeen", strings.Repeat("X-Api-Key: s3cret\n", 17), "there must be at most 16 headers in it"},
	} {
		path := filepath.Join(t.TempDir(), "headers")
		writeKey(t, path, row.content)
		text, err := readTracingHeaders(path)
		if got := errorText(err); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		if err == nil && tracingHeaders(text).Get("X-Api-Key") != "s3cret" {
			t.Errorf("%s: %v", row.name, tracingHeaders(text))
		}
	}
}
