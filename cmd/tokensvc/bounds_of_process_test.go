package main

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

func TestTheMemoryLimitIsTheCgroups(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for name, row := range map[string]struct {
		environ []string
		limit   uint64
		err     error
		want    int64
		says    string
	}{
		"a container of 1 GiB":   {nil, 1 << 30, nil, 1 << 30 / 10 * 9, `"by":"cgroup"`},
		"with GOMEMLIMIT":        {[]string{"A=b", "GOMEMLIMIT=1TiB"}, 1 << 30, nil, 1 << 40, `"by":"GOMEMLIMIT"`},
		"no limit":               {nil, 0, memlimit.ErrNoLimit, 1 << 40, ""},
		"no limit, in a number":  {nil, math.MaxUint64 - 4095, nil, 1 << 40, ""},
		"cgroups are not for us": {nil, 0, errors.New("permission denied"), 1 << 40, ""},
	} {
		debug.SetMemoryLimit(1 << 40)
		var log bytes.Buffer
		limitMemory(row.environ, func() (uint64, error) { return row.limit, row.err }, zerolog.New(&log).Level(zerolog.InfoLevel))
		if got := debug.SetMemoryLimit(-1); got != row.want {
			t.Errorf("%s: %d bytes, want %d", name, got, row.want)
		}
		if !strings.Contains(log.String(), row.says) || row.says == "" && log.Len() > 0 {
			t.Errorf("%s: logged %q", name, log.String())
		}
	}
}

func TestTokensTakeAThirdOfTheMemoryAtMost(t *testing.T) {
	for limit, want := range map[int64]int64{math.MaxInt64: 256 << 20, 3 << 30: 256 << 20, 120 << 20: 40 << 20, 1: 4 << 20} {
		if got := tokenBytes(limit); got != want {
			t.Errorf("of %d bytes: %d, want %d", limit, got, want)
		}
	}
}

func TestConnectionsStayWithinTheOpenFiles(t *testing.T) {
	plain := Config{Limits: LimitsConfig{Connections: 10_000}}
	small := Config{Limits: LimitsConfig{Connections: 100}}
	books := Config{Limits: LimitsConfig{Connections: 10_000}, Directory: DirectoryConfig{Kind: "postgres"}, DirectoryConnections: 16, ProxyListen: "127.0.0.1:0"}
	asks := Config{Limits: LimitsConfig{Connections: 10_000}, Issuers: []IssuerConfig{{Introspect: IntrospectionConfig{ClientID: "x"}}}}
	for _, row := range []struct {
		what  string
		cfg   Config
		limit uint64
		want  descriptors
	}{
		{"there is no limit", plain, math.MaxUint64, descriptors{10_000, 10_000, 256, 20_336}},
		{"just enough", plain, 20_336, descriptors{10_000, 10_000, 256, 20_336}},
		{"one too few", plain, 20_335, descriptors{10_000, 2499, 256, 20_336}},
		{"the usual small limit", plain, 1024, descriptors{602, 86, 256, 20_336}},
		{"which is no matter for a small service", small, 1024, descriptors{100, 100, 256, 536}},
		{"with a database and a proxy's listener", books, 1024, descriptors{294, 83, 256, 30_353}},
		{"with an issuer to ask", asks, 1024, descriptors{490, 70, 256, 20_464}},
		{"hardly any", plain, 128, descriptors{8, 8, 32, 20_336}},
		{"none to speak of", plain, 16, descriptors{8, 8, 4, 20_336}},
	} {
		got := row.cfg.descriptors(row.limit)
		if got != row.want {
			t.Errorf("%s: %+v, want %+v", row.what, got, row.want)
		}
		var log bytes.Buffer
		got.warn(row.cfg, row.limit, zerolog.New(&log))
		lowered := row.want.callers < row.cfg.Limits.Connections || row.want.telnyx < 256 // operators have enough of any
		if said, want := strings.Count(log.String(), "limits.connections are accepted"), lowered; said > 1 || said == 1 != want {
			t.Errorf("%s: logged %q", row.what, log.String())
		}
	}
}

// What is shared out is what all of them together may open.
func TestTheSharesOfTheOpenFilesAddUp(t *testing.T) {
	cfg := Config{
		Limits: LimitsConfig{Connections: 10_000}, ProxyListen: "127.0.0.1:0", Directory: DirectoryConfig{Kind: "sqlite"}, DirectoryConnections: 16,
		Issuers: []IssuerConfig{{Trust: ProxyConfig{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}},
	}
	for limit := 256; limit < 40_000; limit += 100 {
		d := cfg.descriptors(uint64(limit))
		if all := 2*d.callers + d.operators + d.telnyx + backgroundConnections + 16 + 1 + reserved; all > limit {
			t.Errorf("of %d, %d are shared out: %+v", limit, all, d)
		}
	}
}

// The bound that is told is the one in force: a process that may open few files has
// fewer connections to Telnyx.
func TestTheMetricOfTheConnectionsIsWhatIsInForce(t *testing.T) {
	for _, row := range []struct {
		files uint64
		want  float64
	}{{math.MaxUint64, 272}, {128, 48}} {
		registry := prometheus.NewRegistry()
		s := &service{cfg: mustLoad(t, "", enough...), observer: newObserver(zerolog.Nop(), registry)}
		s.files = s.cfg.descriptors(row.files)
		if err := s.openTelnyx(registry); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := -1.0
		for _, f := range families {
			if f.GetName() == "tokensvc_telnyx_connections_max" {
				got = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		if got != row.want {
			t.Errorf("with %d files there may be %v connections, want %v", row.files, got, row.want)
		}
	}
}
