package main

import (
	"slices"
	"strings"
	"testing"
)

// A half of what TLS takes is refused: the listener would speak plain HTTP, or let
// in everybody.
func TestConfigTLSIsWholeOrNone(t *testing.T) {
	const together = "cert_file: goes together with "
	for text, want := range map[string][]string{
		"tls: {cert_file: a}":                    {"tls." + together + "tls.key_file, and both are required for client_ca_file"},
		"tls: {key_file: a}":                     {"tls." + together + "tls.key_file, and both are required for client_ca_file"},
		"tls: {client_ca_file: a}":               {"tls." + together + "tls.key_file, and both are required for client_ca_file"},
		"ops_tls: {cert_file: a}":                {"ops_tls." + together + "ops_tls.key_file, and both are required for client_ca_file"},
		"ops_tls: {client_ca_file: a}":           {"ops_tls." + together + "ops_tls.key_file, and both are required for client_ca_file"},
		"tls: {cert_file: a, key_file: b}":       nil,
		"ops_tls: {cert_file: a, key_file: b}":   nil,
		"proxy_tls: {cert_file: a, key_file: b}": {"proxy_listen: is required with proxy_tls: it is that listener's"},
	} {
		path := configFile(t, text+"\ndirectory: claim:a\nissuers:\n- {name: a, issuer: https://a.example.com, audience: x}\n")
		_, problems := loadAlone(path, enough[:1])
		var got []string
		for _, p := range problems {
			_, said, _ := strings.Cut(p.String(), ": ") // the file and the line
			got = append(got, said)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
