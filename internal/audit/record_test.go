package audit_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/audit"
)

func clock() time.Time {
	return time.Date(2026, 3, 4, 5, 6, 7, 8_900_000, time.FixedZone("", 3600))
}

func TestARecordSaysAllThatThereIs(t *testing.T) {
	var out bytes.Buffer
	trail := open(t, audit.Config{Out: &out, Now: clock})
	trail.Note(audit.Record{
		What: audit.Token, Outcome: "issued", Reason: "expired", User: "main:alice", Issuer: "main", Device: "mobile",
		Credential: "0b1b2b3b-0000-4000-8000-000000000000", TokenSHA256: [32]byte{0xab, 31: 0xcd}, RequestID: "r-1",
		Client: netip.MustParseAddr("2001:db8::1"), Rule: "groups: any_of [agents]", Source: "cache",
		Actor: "admin token", Target: "main:bob", Action: "PUT /x", Version: "v1", Count: 3,
	})
	got := line(t, out.String())
	delete(got, "run")
	want := map[string]any{
		"n": 1.0, "time": "2026-03-04T04:06:07.008Z", "what": "token", "outcome": "issued", "reason": "expired",
		"user": "main:alice", "issuer": "main", "device": "mobile", "credential": "0b1b2b3b-0000-4000-8000-000000000000",
		"token_sha256": "ab" + strings.Repeat("00", 30) + "cd", "request_id": "r-1", "client": "2001:db8::1",
		"rule": "groups: any_of [agents]", "source": "cache", "actor": "admin token", "target": "main:bob",
		"action": "PUT /x", "version": "v1", "count": 3.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOfWhatIsNotThereNothingIsSaid(t *testing.T) {
	var out bytes.Buffer
	trail := open(t, audit.Config{Out: &out, Now: clock})
	trail.Note(audit.Record{What: audit.Token})
	_, rest, _ := strings.Cut(out.String(), `"n":1,`)
	if want := `"time":"2026-03-04T04:06:07.008Z","what":"token"}` + "\n"; rest != want {
		t.Errorf("%s, want %s", rest, want)
	}
}

func TestATextIsBoundedAndHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                        "plain",
		"a\nb\r\x00\x1b[31m\x7f\u009b": "a\nb\r\x00\x1b[31m\x7f\u009b",
		`"quoted" \`:                   `"quoted" \`,
		"Jürgen 😀":                     "Jürgen 😀",
		"\u2028\u2029":                 "\u2028\u2029",
		"a\xffb\xc3":                   "a\ufffdb\ufffd",
		strings.Repeat("a", 1024):      strings.Repeat("a", 1024),
		strings.Repeat("a", 1025):      strings.Repeat("a", 1024) + "…",
		strings.Repeat("ü", 600):       strings.Repeat("ü", 512) + "…",
		"a" + strings.Repeat("😀", 300): "a" + strings.Repeat("😀", 255) + "…",
		strings.Repeat("\xff", 1100):   strings.Repeat("\ufffd", 1024) + "…",
	} {
		var out bytes.Buffer
		open(t, audit.Config{Out: &out}).Note(audit.Record{User: text})
		if got := line(t, out.String())["user"]; got != want {
			t.Errorf("%.40q is %.60q, want %.60q", text, got, want)
		}
		wantHarmless(t, out.String())
	}
}

// wantHarmless wants one line of UTF-8 that a terminal obeys nothing of.
func wantHarmless(t *testing.T, out string) {
	t.Helper()
	inner, ended := strings.CutSuffix(out, "\n")
	if !ended || !utf8.ValidString(inner) || strings.ContainsFunc(inner, unicode.IsControl) || strings.ContainsAny(inner, "\u2028\u2029") {
		t.Errorf("not one harmless line: %q", out)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("main:alice", "mobile", "r-1")
	f.Add("a\"\\\n\x00\xff", strings.Repeat("ü", 700), "\u2028")
	f.Fuzz(func(t *testing.T, user, device, rule string) {
		var out bytes.Buffer
		trail := open(t, audit.Config{Out: &out})
		trail.Note(audit.Record{User: user, Device: device, Rule: rule, Client: netip.IPv6Loopback().WithZone(user)})
		wantHarmless(t, out.String())
		if out.Len() > 4*1024*6+1000 {
			t.Errorf("%d bytes", out.Len())
		}
		got := line(t, out.String())
		for name, text := range map[string]string{"user": user, "device": device, "rule": rule} {
			if text != "" && len(text) <= 1024 && utf8.ValidString(text) && got[name] != text {
				t.Errorf("%s is %q, want %q", name, got[name], text)
			}
		}
		wantRun(t, reading(t, out.String()), 1)
	})
}

func TestNothingOfARecordIsAllocated(t *testing.T) {
	trail := open(t, audit.Config{Out: discard{}})
	r := audit.Record{What: audit.Token, User: "main:alice", Client: netip.MustParseAddr("192.0.2.1"), TokenSHA256: [32]byte{1}}
	n := testing.AllocsPerRun(1000, func() {
		if err := trail.Grant(r); err != nil {
			t.Error(err)
		}
	})
	if n > 1 { // a pool may be emptied meanwhile
		t.Errorf("%v allocations", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkGrant(b *testing.B) {
	path := b.TempDir() + "/audit.jsonl"
	trail, err := audit.Open(audit.Config{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	r := audit.Record{
		What: audit.Token, Outcome: "issued", User: "main:alice", Issuer: "main", Device: "default", RequestID: "0190a5e6-6f4b-7c3e-8d2a-1b2c3d4e5f60",
		Credential: "0b1b2b3b-0000-4000-8000-000000000000", Client: netip.MustParseAddr("192.0.2.1"), TokenSHA256: [32]byte{1}, Source: "cache",
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = trail.Grant(r)
		}
	})
	b.Run("together", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				_ = trail.Grant(r)
			}
		})
	})
}

func TestTheTimeOfARecord(t *testing.T) {
	east := time.FixedZone("", 5*3600+1800)
	for want, at := range map[string]time.Time{
		"2026-03-04T05:06:07.000Z": time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		"2026-03-04T05:06:07.008Z": time.Date(2026, 3, 4, 5, 6, 7, 8_999_999, time.UTC),
		"2026-12-31T23:59:59.999Z": time.Date(2027, 1, 1, 5, 29, 59, 999_999_999, east),
		"2026-03-04T05:06:07.120Z": time.Date(2026, 3, 4, 5, 6, 7, 120_000_000, time.UTC),
	} {
		var out bytes.Buffer
		trail := open(t, audit.Config{Out: &out, Now: func() time.Time { return at }})
		trail.Note(audit.Record{What: audit.Token})
		if !strings.Contains(out.String(), `"time":"`+want+`"`) {
			t.Errorf("%s, want the time %s", out.String(), want)
		}
	}
}
