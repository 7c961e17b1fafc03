package handler_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// What an address may have refused in the tests here.
const (
	floodPerMinute = 600 // 10 in a second
	floodBurst     = 20
	floodCallers   = 8
)

func bounded(c *handler.Config) {
	c.AddressPerMinute, c.AddressBurst = floodPerMinute, floodBurst
	c.TrustedProxies = elsewhere
}

// elsewhere is where the proxies are, so that whoever comes from this machine is a
// client.
var elsewhere = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}

// from returns the house as somebody sees it who calls from that address.
func (h *house) from(address string) *house {
	h.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: floodCallers}
	h.t.Cleanup(transport.CloseIdleConnections)
	there := *h
	there.client = &http.Client{Transport: transport}
	return &there
}

// forge returns a bearer of the house's issuer with a signature that is not its.
func (h *house) forge() string {
	bearer := h.issuer.Bearer("alice", nil)
	return bearer[:strings.LastIndexByte(bearer, '.')+1] + rand.Text() + rand.Text()
}

// flood sends forged bearers at full speed until it is told to stop, with these
// headers, and returns how many were looked at.
func (h *house) flood(headers func() []string) (stop func() (lookedAt int)) {
	var done atomic.Bool
	var looked, refused atomic.Int64
	var callers sync.WaitGroup
	forged := h.forge()
	for range floodCallers {
		callers.Go(func() {
			for !done.Load() {
				got := h.call(http.MethodPost, "/v1/token", append(headers(), "Authorization", "Bearer "+forged+rand.Text())...)
				switch got.code {
				case "invalid_token":
					looked.Add(1)
				case "rate_limited":
					refused.Add(1)
				default:
					h.t.Errorf("a forged bearer: %d %s", got.status, got.code)
					return
				}
			}
		})
	}
	return func() int {
		done.Store(true)
		callers.Wait()
		if refused.Load() == 0 {
			h.t.Error("the flood was not refused at all")
		}
		return int(looked.Load())
	}
}

func none() []string { return nil }

// await waits until what comes from an address is no longer looked at.
func (h *house) await() {
	h.t.Helper()
	eventually := time.After(10 * time.Second)
	for !strings.Contains(h.log.String(), `"outcome":"rate_limited"`) {
		select {
		case <-eventually:
			h.t.Fatal("for 10 s everything was looked at")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAFloodOfForgedBearersHarmsNobodyWhoIsKnown(t *testing.T) {
	h := build(t, telnyxtest.Options{}, bounded)
	attacker, elsewhere := h.from("127.0.0.1"), h.from("127.0.0.2")
	alice, _ := h.person("alice")
	if status, _, outcome := attacker.ask(alice); status != http.StatusOK {
		t.Fatalf("alice, before: %d %s", status, outcome)
	}
	fetches, began := h.issuer.KeyFetches(), time.Now()
	stop := attacker.flood(none)
	h.await()
	for i := range 50 {
		if status, _, outcome := attacker.ask(alice); status != http.StatusOK {
			t.Errorf("alice, known and at the attacker's address: %d %s", status, outcome)
		}
		bob, _ := h.person(fmt.Sprint("bob-", i))
		if status, _, outcome := elsewhere.ask(bob); status != http.StatusOK {
			t.Errorf("bob, new and from elsewhere: %d %s", status, outcome)
		}
	}
	got := attacker.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+h.forge())
	looked := stop()
	most := floodBurst + int(time.Since(began).Seconds()*floodPerMinute/60) + 1 + floodCallers
	if looked > most {
		t.Errorf("%d forged bearers were looked at, want at most %d", looked, most)
	}
	if n := h.issuer.KeyFetches() - fetches; n > 1 {
		t.Errorf("the issuer was asked %d times for its keys", n)
	}
	wantLater(t, got)
	if n := strings.Count(h.log.String(), "set trusted_proxies"); n != 1 {
		t.Errorf("%d warnings about the address, want 1", n)
	}
}

// wantLater checks the answer to somebody who is not looked at.
func wantLater(t *testing.T, got reply) (wait time.Duration) {
	t.Helper()
	seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
	if got.status != http.StatusTooManyRequests || got.code != "rate_limited" || err != nil || seconds < 1 ||
		!strings.Contains(string(got.body), "from your address") {
		t.Fatalf("answered %d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
	}
	return time.Duration(seconds) * time.Second
}

func TestWhoeverWaitsAsToldIsLookedAt(t *testing.T) {
	var ahead atomic.Int64
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.AddressPerMinute, c.AddressBurst, c.TrustedProxies = 4, 2, elsewhere // one in 15 s
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	alice, _ := h.person("alice")
	for range 2 {
		if _, _, outcome := h.ask("forged"); outcome != "invalid_token" {
			t.Fatalf("got %s", outcome)
		}
	}
	if _, _, outcome := h.ask(alice); outcome != "rate_limited" {
		t.Fatalf("alice, who is not known: %s", outcome)
	}
	wait := wantLater(t, h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+alice))
	if wait > 15*time.Second {
		t.Errorf("alice is to wait %v, want no more than 15 s", wait)
	}
	ahead.Store(int64(wait))
	if status, _, outcome := h.ask(alice); status != http.StatusOK {
		t.Errorf("alice, who has waited: %d %s", status, outcome)
	}
}

// Whom nobody trusts may say what they like about where they come from.
func TestAFloodCannotChooseItsAddress(t *testing.T) {
	h := build(t, telnyxtest.Options{}, bounded)
	began := time.Now()
	stop := h.from("127.0.0.1").flood(func() []string {
		return []string{"X-Forwarded-For", "192.0.2." + strconv.Itoa(time.Now().Nanosecond()%250)}
	})
	h.await()
	looked := stop()
	if most := floodBurst + int(time.Since(began).Seconds()*floodPerMinute/60) + 1 + floodCallers; looked > most {
		t.Errorf("%d forged bearers were looked at, want at most %d", looked, most)
	}
}

func TestBehindAProxyEachClientIsAnAddress(t *testing.T) {
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		bounded(c)
		c.AddressPerMinute = 1 // so that a flood on a busy machine does not fall behind it
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	proxy := h.from("127.0.0.1")
	stop := proxy.flood(func() []string {
		return []string{"X-Forwarded-For", "198.51.100.1, 2001:db8:0:1::" + strconv.Itoa(time.Now().Nanosecond()%9999)}
	})
	h.await()
	alice, _ := h.person("alice")
	for name, row := range map[string]struct {
		from      string
		forwarded string
		want      string
	}{
		"the attacker's network":                 {"127.0.0.1", "2001:db8:0:1:ffff::1", "rate_limited"},
		"and what it says came before":           {"127.0.0.1", "192.0.2.9, 2001:db8:0:1::2", "rate_limited"},
		"another network":                        {"127.0.0.1", "2001:db8:0:2::1", ""},
		"what the attacker said came before":     {"127.0.0.1", "198.51.100.1", ""},
		"a peer that is no proxy, in their name": {"127.0.0.2", "2001:db8:0:1::1", ""},
	} {
		// A new bearer each time: nobody is known.
		bearer := h.issuer.Bearer("alice", map[string]any{claim: credentialOf(t, h, alice), "jti": rand.Text()})
		got := h.from(row.from).call(http.MethodPost, "/v1/token", "X-Forwarded-For", row.forwarded, "Authorization", "Bearer "+bearer)
		if got.code != row.want {
			t.Errorf("%s: %d %q, want %q", name, got.status, got.code, row.want)
		}
	}
	stop()
}

// credentialOf returns the credential of a person's bearer.
func credentialOf(t *testing.T, h *house, bearer string) string {
	t.Helper()
	_, token, outcome := h.from("127.0.0.3").ask(bearer)
	of, ok := h.telnyx.CredentialOf(token)
	if !ok {
		t.Fatalf("no token: %s", outcome)
	}
	return of
}

func TestNoCacheHasATokenMinted(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	alice, _ := h.person("alice")
	ask := func(headers ...string) string {
		t.Helper()
		got := h.call(http.MethodPost, "/v1/token", append(headers, "Authorization", "Bearer "+alice)...)
		if got.status != http.StatusOK {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
		_, source, _ := strings.Cut(lines[len(lines)-1], `"source":"`)
		source, _, _ = strings.Cut(source, `"`)
		return source
	}
	for _, row := range []struct {
		control []string
		want    string
	}{
		{nil, "mint"}, {nil, "cache"}, {[]string{"Cache-Control", "no-cache"}, "mint"}, {[]string{"Cache-Control", "max-age=0"}, "cache"},
	} {
		if got := ask(row.control...); got != row.want {
			t.Errorf("with %v: from %q, want %q", row.control, got, row.want)
		}
	}
}
