package handler

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
)

// gate is what one test's addresses are, with a clock that it moves.
type gate struct {
	*addresses
	t   *testing.T
	now time.Time
	log bytes.Buffer
}

// newGate lets each address have 5 refusals at once and one every two seconds.
func newGate(t *testing.T, shared sharedRate) *gate {
	t.Helper()
	g := &gate{t: t, now: time.Now()}
	var err error
	g.addresses, err = newAddresses(Config{
		AddressPerMinute: 30, AddressBurst: 5, SharedRate: shared,
		Log: zerolog.New(&g.log), Now: func() time.Time { return g.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

var forged = &authz.InvalidError{Reason: authz.ReasonSignature}

// try has somebody with a forged bearer try, and returns how long they are to wait.
func (g *gate) try(from string) time.Duration {
	g.t.Helper()
	at := netip.MustParseAddr(from)
	err := g.mayTry(at)
	if err == nil {
		g.count(g.t.Context(), at, forged)
		return 0
	}
	if OutcomeOf(err) != RateLimited {
		g.t.Fatalf("got %v", err)
	}
	return retryOf(err)
}

func (g *gate) expect(from string, want time.Duration) {
	g.t.Helper()
	if got := g.try(from); got != want {
		g.t.Errorf("%s waits %v, want %v", from, got, want)
	}
}

func TestAnAddressHasItsShareOfRefusals(t *testing.T) {
	const one, other = "192.0.2.1", "192.0.2.2"
	g := newGate(t, nil)
	for range 5 {
		g.expect(one, 0)
	}
	g.expect(one, 2*time.Second)
	g.expect(one, 2*time.Second) // not to be looked at costs nothing
	g.expect(other, 0)
	g.now = g.now.Add(1999 * time.Millisecond)
	g.expect(one, time.Millisecond)
	g.now = g.now.Add(time.Millisecond)
	g.expect(one, 0)
	g.expect(one, 2*time.Second)
	g.now = g.now.Add(10 * time.Second)
	for range 5 {
		g.expect(one, 0)
	}
	g.expect(one, 2*time.Second)
}

func TestWhatIsOneAddress(t *testing.T) {
	for _, row := range []struct {
		from, also string
		same       bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		g := newGate(t, nil)
		for range 5 {
			g.expect(row.from, 0)
		}
		if got := g.try(row.also) > 0; got != row.same {
			t.Errorf("%s and %s are one address: %v, want %v", row.from, row.also, got, row.same)
		}
	}
}

func TestWhichRefusalsCount(t *testing.T) {
	for name, row := range map[string]struct {
		why    error
		counts bool
	}{
		"no credential":            {authz.ErrUnauthenticated, true},
		"several credentials":      {authz.ErrAmbiguous, true},
		"a forged bearer":          {forged, true},
		"a rule":                   {fmt.Errorf("%w: groups", authz.ErrDenied), true},
		"nobody we know":           {directory.ErrNoCredential, true},
		"a nonce to be told":       {&authz.InvalidError{Reason: authz.ReasonProofNonce}, false},
		"a user's own rate":        {&requestError{outcome: RateLimited}, false},
		"an issuer that is down":   {authz.ErrIssuerUnavailable, false},
		"a request that is wrong":  {&requestError{outcome: BadRequest}, false},
		"a caller who went away":   {context.Canceled, false},
		"a bug":                    {errors.New("bug"), false},
		"a directory that is down": {directory.ErrUnavailable, false},
	} {
		g := newGate(t, nil)
		at := netip.MustParseAddr("192.0.2.1")
		for range 5 {
			g.count(t.Context(), at, row.why)
		}
		if got := g.mayTry(at) != nil; got != row.counts {
			t.Errorf("%s counts: %v, want %v", name, got, row.counts)
		}
	}
}

func TestWhatWasTakenTogetherIsPaidBack(t *testing.T) {
	g := newGate(t, nil)
	at := netip.MustParseAddr("192.0.2.1")
	for range 8 { // all let in before any was refused
		if err := g.mayTry(at); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		g.count(t.Context(), at, forged)
	}
	g.expect("192.0.2.1", 8*time.Second) // 2 s for the next, and for three too many
	for range 1000 {
		g.count(t.Context(), at, forged)
	}
	g.expect("192.0.2.1", 12*time.Second) // and no more than another burst's
}

func TestAnAddressIsWarnedAboutOnceAMinute(t *testing.T) {
	g := newGate(t, nil)
	warnings := func() int { return strings.Count(g.log.String(), "set trusted_proxies") }
	for range 61 { // a minute and a second
		for range 10 {
			g.try("192.0.2.1")
		}
		g.now = g.now.Add(time.Second)
	}
	if n := warnings(); n != 2 {
		t.Errorf("%d warnings in a minute, want 2: %s", n, g.log.String())
	}
	if !strings.Contains(g.log.String(), `"level":"warn","client":"192.0.2.1",`) {
		t.Errorf("logged %s", g.log.String())
	}
}

func TestAnAddressesShareOfAllReplicas(t *testing.T) {
	var wait time.Duration
	var told bool
	var asked []string
	g := newGate(t, func(_ context.Context, kind, key string, perMinute, burst int) (time.Duration, bool) {
		asked = append(asked, fmt.Sprint(kind, " ", key, " ", perMinute, " ", burst))
		return wait, told
	})
	told = true
	g.expect("2001:db8::7", 0)
	if want := []string{"address 2001:db8::/64 30 5"}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
	wait = 3 * time.Second // used up by the other replicas
	g.expect("2001:db8::7", 0)
	g.expect("2001:db8::7", 3*time.Second)
	if len(asked) != 2 {
		t.Errorf("asked %d times, want once for each refusal", len(asked))
	}
	g.now = g.now.Add(20 * time.Second)
	wait, told = 0, false // this replica counts by itself
	for range 5 {
		g.expect("2001:db8::7", 0)
	}
	g.expect("2001:db8::7", 2*time.Second)
}

func TestNoBoundIsNoBound(t *testing.T) {
	none, err := newAddresses(Config{AddressBurst: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer none.close()
	at := netip.MustParseAddr("192.0.2.1")
	for range 10_000 {
		none.count(t.Context(), at, forged)
	}
	if err := none.mayTry(at); err != nil {
		t.Errorf("got %v", err)
	}
	for _, wrong := range [][2]int{{1, 0}, {-1, 5}, {5, -1}} {
		if _, err := newAddresses(Config{AddressPerMinute: wrong[0], AddressBurst: wrong[1], Now: time.Now}); err == nil {
			t.Errorf("a rate of %v is accepted", wrong)
		}
	}
}

// TestAMillionAddresses has each be refused often, as somebody with a large network
// of IPv6 could arrange.
func TestAMillionAddresses(t *testing.T) {
	const many, most = 1_000_000, 64 << 20
	g := newGate(t, nil)
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	at := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	for i := range uint32(many) {
		binary.BigEndian.PutUint32(at[4:], i)
		g.count(t.Context(), netip.AddrFrom16(at), forged)
	}
	g.of.CleanUp()
	if n := g.of.EstimatedSize(); n > maxAddresses {
		t.Errorf("%d addresses are remembered, want at most %d", n, maxAddresses)
	}
	if grown := int64(used()) - int64(before); grown > most {
		t.Errorf("they take %d bytes, want at most %d", grown, most)
	}
	for range 5 {
		g.expect("192.0.2.1", 0)
	}
	g.expect("192.0.2.1", 2*time.Second)
}

func BenchmarkMayTry(b *testing.B) {
	at := netip.MustParseAddr("192.0.2.1")
	for name, flood := range map[string]bool{"quiet": false, "in a flood": true} {
		b.Run(name, func(b *testing.B) {
			a, err := newAddresses(Config{AddressPerMinute: 1, AddressBurst: 1, Now: time.Now})
			if err != nil {
				b.Fatal(err)
			}
			defer a.close()
			if flood {
				a.count(b.Context(), netip.MustParseAddr("192.0.2.2"), forged)
			}
			for b.Loop() {
				if err := a.mayTry(at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Behind a proxy that we do not know everybody has its address.
func TestWhoseAddressIsBounded(t *testing.T) {
	for _, row := range []struct {
		name, client, header string
		proxied, want        bool
	}{
		{"somebody on the internet", "203.0.113.7", "", false, true},
		{"somebody on the internet, by IPv6", "2001:db8::7", "", false, true},
		{"a proxy that says so", "203.0.113.7", "X-Forwarded-For", false, false},
		{"a proxy that says so in the newer way", "203.0.113.7", "Forwarded", false, false},
		{"an ingress in our network", "10.0.3.4", "", false, false},
		{"an ingress in our network, by IPv6", "fd00::4", "", false, false},
		{"something on this machine", "127.0.0.1", "", false, false},
		{"nobody knows where", "", "", false, false},
		{"a client in our network, behind a proxy that we know", "10.0.3.4", "X-Forwarded-For", true, true},
	} {
		r := &http.Request{Header: http.Header{}}
		if row.header != "" {
			r.Header.Set(row.header, "198.51.100.1")
		}
		client, _ := netip.ParseAddr(row.client)
		if got := (&addresses{proxied: row.proxied}).isOne(r, client); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
