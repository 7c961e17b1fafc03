package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/tracing"
)

// TracingConfig says whether and where requests are traced.
type TracingConfig struct {
	// Endpoint is the URL of a collector that takes OTLP over HTTP, or "", the default:
	// then nothing is traced.
	Endpoint string
	// Sample is the share of requests that are traced. Default 1, 0 to 1.
	Sample float64
	// HeadersFile holds headers for the collector, each on a line of its own, or is "".
	// It is read again whenever it changes.
	HeadersFile string
	// TrustParent says who else decides which requests are traced: "proxies", the
	// default, or "anybody".
	TrustParent string
}

const trustAnybody = "anybody"

func tracingSettings(c *Config) []setting {
	return []setting{
		{
			key: "tracing.endpoint", variable: "TOKENSVC_TRACING_ENDPOINT", unset: "none: nothing is traced",
			field: asOne(&c.Tracing.Endpoint, oneText, "an http or https URL without user information, query or fragment", func(s string) (string, error) {
				return s, tracing.CheckEndpoint(s)
			}),
			help: "Collector that [traces](tracing.md) are sent to, by OTLP over HTTP. `/v1/traces` is added to its path.",
		}, {
			key: "tracing.sample", variable: "TOKENSVC_TRACING_SAMPLE", byDefault: "1",
			field: asPart(&c.Tracing.Sample),
			help:  "Share of the requests that are traced.",
		}, {
			key: "tracing.headers_file", variable: "TOKENSVC_TRACING_HEADERS_FILE", unset: "none",
			field: asPath(&c.Tracing.HeadersFile),
			help:  "File of headers for the collector, such as its key: `Name: value`, one a line.",
		}, {
			key: "tracing.trust_parent", variable: "TOKENSVC_TRACING_TRUST_PARENT", byDefault: "proxies",
			field: asOneOf(&c.Tracing.TrustParent, "proxies", trustAnybody),
			help:  "Whose word on whether a request is traced is followed: that of `trusted_proxies`, or anybody's.",
		},
	}
}

func asPart(into *float64) field {
	return asOne(into, oneNumber, "a number from 0 to 1", func(s string) (float64, error) {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || !(x >= 0 && x <= 1) { // so, and not the other way round, for NaN
			return 0, errUnexpected
		}
		return x, nil
	})
}

// checkTracing judges what belongs to a collector.
func (l *configLoader) checkTracing() {
	const endpoint, headers = "tracing.endpoint", "tracing.headers_file"
	c := l.config.Tracing
	if l.broken[endpoint] {
		return
	}
	if c.Endpoint == "" {
		for _, key := range []string{"tracing.sample", headers, "tracing.trust_parent"} {
			if l.isSet(key) {
				l.refuse(key, l.at(key), "has no use: there is no tracing.endpoint")
			}
		}
		return
	}
	if c.HeadersFile != "" && authz.CheckURL(c.Endpoint) != nil {
		l.refuse(endpoint, l.at(endpoint), "must be https, or http on a loopback address: the headers of tracing.headers_file travel there")
	}
}

const maxTracingHeaders = 16

// readTracingHeaders reads the collector's headers. They stay as they are written;
// tracingHeaders takes them apart.
func readTracingHeaders(path string) (secret.Text, error) {
	text, err := readSmallFile(path, maxSecretFile, "headers of the collector")
	if err != nil {
		return secret.Text{}, err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > maxTracingHeaders {
		return secret.Text{}, fmt.Errorf("there must be at most %d headers in it", maxTracingHeaders)
	}
	for i, line := range lines {
		name, value, ok := headerIn(line)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || value == "" {
			return secret.Text{}, errors.New("each of its lines must be Name: value" + whichLine(i, len(lines)))
		}
	}
	return secret.New(strings.Join(lines, "\n")), nil
}

func headerIn(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	return strings.TrimSpace(name), strings.TrimSpace(value), ok
}

// tracingHeaders takes apart what readTracingHeaders has read.
func tracingHeaders(text secret.Text) http.Header {
	header := make(http.Header)
	for line := range strings.Lines(text.Reveal()) {
		name, value, _ := headerIn(line)
		header.Set(name, value)
	}
	return header
}

// tracing is what a tracer takes, which asks for the headers every time, without what
// it is to tell.
func (c Config) tracing(headers func() secret.Text) tracing.Config {
	cfg := tracing.Config{
		Endpoint: c.Tracing.Endpoint, Sample: c.Tracing.Sample, Version: version,
		Proxy: http.ProxyFromEnvironment,
	}
	if headers != nil {
		cfg.Header = func() http.Header { return tracingHeaders(headers()) }
	}
	return cfg
}
