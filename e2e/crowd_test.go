package e2e_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestACrowdForOneCredentialMintsOnce(t *testing.T) {
	const crowd = 64
	l := newLab(t, telnyxtest.Options{Latency: 300 * time.Millisecond}, "alice")
	c := call(t, startService(t, l.env))
	alice := bearing(l.issuer.Bearer("alice", nil))

	answers := make([]answer, crowd)
	var waiting sync.WaitGroup
	for i := range answers {
		waiting.Go(func() {
			var err error
			if answers[i], err = c.try(t.Context(), alice); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	for _, got := range answers {
		l.wantToken(t, "alice", got)
		if got.token() != answers[0].token() {
			t.Error("two tokens for one credential")
		}
	}
	if n := l.telnyx.Requests(telnyxtest.Token); n != 1 {
		t.Errorf("%d tokens asked of Telnyx, want 1", n)
	}
}

func TestWhoeverLeavesTakesNobodyWithThem(t *testing.T) {
	l := newLab(t, telnyxtest.Options{Latency: time.Second}, "alice")
	s := startService(t, l.env)
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", nil))
	ask := func(ctx context.Context, want error) func() {
		return func() {
			got, err := c.try(ctx, alice)
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if want == nil {
				l.wantToken(t, "alice", got)
			}
		}
	}

	var waiting sync.WaitGroup
	first, leave := context.WithCancel(t.Context())
	waiting.Go(ask(first, context.Canceled))
	process.Eventually(t, 5*time.Second, "the first caller's mint", func() error { return wantRequests(l, 1) })
	for range 8 {
		waiting.Go(ask(t.Context(), nil))
	}
	leave()
	process.Eventually(t, 5*time.Second, "log line of who left", func() error {
		for _, line := range s.Logged("request") {
			if line["outcome"] == "canceled" {
				return nil
			}
		}
		return errors.New("there is none")
	})
	for range 8 {
		waiting.Go(ask(t.Context(), nil))
	}
	waiting.Wait()
	if err := wantRequests(l, 1); err != nil {
		t.Error(err)
	}
}

func wantRequests(l *lab, want int) error {
	if n := l.telnyx.Requests(telnyxtest.Token); n != want {
		return fmt.Errorf("%d tokens asked of Telnyx, want %d", n, want)
	}
	return nil
}

// However requests come together, in caches and on connections, everybody gets
// a token of their own. Tokens live for 3 s and are fresh for the first of them,
// so that cached and new ones mix.
func TestNobodyIsHandedAnothersToken(t *testing.T) {
	const people, workers, requests = 40, 16, 4000
	var users, bearers []string
	for i := range people {
		users = append(users, fmt.Sprint("user-", i))
	}
	l := newLab(t, telnyxtest.Options{TokenLife: 3 * time.Second, Latency: 5 * time.Millisecond}, users...)
	for _, user := range users {
		bearers = append(bearers, l.issuer.Bearer(user, nil))
	}
	s := startService(t, l.with(setting{"TOKENSVC_VENDING_MIN_LIFE", "0.7"}))
	c := call(t, s)

	var asked atomic.Int64
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for asked.Add(1) <= requests && !t.Failed() {
				who := mathrand.IntN(people)
				got, err := c.try(t.Context(), bearing(bearers[who]))
				if err != nil {
					t.Error(err)
					return
				}
				l.wantToken(t, users[who], got)
			}
		})
	}
	working.Wait()
	sources := map[any]int{}
	for _, line := range s.Logged("request") {
		sources[line["source"]]++
	}
	if sources["mint"] < people || sources["cache"] < people {
		t.Errorf("tokens by source: %v; want many of both kinds", sources)
	}
}

// Whoever forges bearers gets neither a token nor the issuer's attention, and is
// not in the way of others.
func TestAFloodOfForgeries(t *testing.T) {
	const each, workers = 20_000, 8
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.env)
	c := call(t, s)
	// Old enough that its key, if it were one of the issuer's, would be known.
	head, payload, _ := cut(l.issuer.Bearer("alice", map[string]any{"iat": time.Now().Add(-time.Minute).Unix()}))

	for _, row := range []struct {
		what    string
		forge   func(i int64) string
		reason  string
		fetches int // at most; if any, one more for every 30 s that it takes
	}{
		{"a known key's name", func(int64) string { return head + "." + payload + "." + noise() }, "signature", 0},
		{"an unknown key's name", func(i int64) string {
			return encode(fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":"key-%d-of-nobody"}`, i)) + "." + payload + "." + noise()
		}, "key", 1},
	} {
		t.Run(row.what, func(t *testing.T) {
			before, began := l.issuer.KeyFetches(), time.Now()
			var forged atomic.Int64
			var flooding sync.WaitGroup
			for range workers {
				flooding.Go(func() {
					f, err := dialFlood(t.Context(), s)
					if err != nil {
						t.Error(err)
						return
					}
					defer f.conn.Close()
					for i := forged.Add(1); i <= each; i = forged.Add(1) {
						if err := f.wantInvalid(row.forge(i), row.reason); err != nil {
							t.Error(err)
							return
						}
					}
					last := &caller{t, checked(t, f), s.Listen} // is held to the contract too
					got, err := last.try(t.Context(), bearing(row.forge(0)))
					if err != nil {
						t.Error(err)
						return
					}
					wantRefusal(t, got, invalid(row.reason))
				})
			}
			flooding.Wait()
			most := row.fetches
			if most > 0 {
				most += int(time.Since(began) / (30 * time.Second))
			}
			if n := l.issuer.KeyFetches() - before; n > most {
				t.Errorf("the issuer was asked for keys %d times, want at most %d", n, most)
			}
		})
	}
	l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil))))
	if err := wantRequests(l, 1); err != nil {
		t.Error(err)
	}
}

// noise has the form of an ES256 signature.
func noise() string {
	var b [64]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// flood is a connection that is used for one request after another by a client
// so small that the service, and not the client, is kept busy.
type flood struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dialFlood(ctx context.Context, s *service) (*flood, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(s.Listen, "http://"))
	if err != nil {
		return nil, err
	}
	return &flood{conn, bufio.NewReader(conn)}, conn.SetDeadline(time.Now().Add(2 * time.Minute))
}

// RoundTrip sends any request on the connection.
func (f *flood) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(f.conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(f.reader, r)
}

func (f *flood) wantInvalid(bearer, reason string) error {
	_, err := io.WriteString(f.conn, "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nContent-Length: 0\r\nAuthorization: Bearer "+bearer+"\r\n\r\n")
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(f.reader, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if told := res.Header.Get("WWW-Authenticate"); res.StatusCode != http.StatusUnauthorized || !strings.Contains(told, `"`+reason+`"`) {
		return fmt.Errorf("a forged bearer is answered %d, %s; want 401 and %s", res.StatusCode, told, reason)
	}
	return err
}
