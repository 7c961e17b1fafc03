package vending_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// clock is a time that tests move. Telnyx and the machine share it.
type clock struct {
	start time.Time
	ahead atomic.Int64
}

func (c *clock) Now() time.Time          { return c.start.Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// shop is a machine in front of an emulated Telnyx.
type shop struct {
	*vending.Machine
	clock  *clock
	telnyx *telnyxtest.Server
	client *telnyx.Client
	mints  atomic.Int64 // told by OnMint
}

func open(t *testing.T, o telnyxtest.Options) *shop {
	t.Helper()
	return openWith(t, o, vending.Config{})
}

// openWith opens a shop whose machine is told this besides.
func openWith(t *testing.T, o telnyxtest.Options, cfg vending.Config) *shop {
	t.Helper()
	clock := &clock{start: time.Now()}
	o.Now = clock.Now
	return openShop(t, clock, telnyxtest.StartT(t, o), cfg)
}

// openShop opens a shop in front of a Telnyx that others may use too.
func openShop(t *testing.T, clock *clock, upstream *telnyxtest.Server, cfg vending.Config) *shop {
	t.Helper()
	s := &shop{clock: clock, telnyx: upstream}
	client, err := telnyx.New(telnyx.Config{
		BaseURL: s.telnyx.URL(),
		APIKeys: func() []secret.Text { return []secret.Text{secret.New(telnyxtest.DefaultAPIKey)} },
		Timeout: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	cfg.Minter, cfg.Now = client, s.clock.Now
	cfg.OnMint = func(time.Duration, error) { s.mints.Add(1) }
	s.Machine, err = vending.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); client.CloseIdleConnections() })
	return s
}

// credential makes a credential at Telnyx.
func (s *shop) credential(t *testing.T) telnyx.CredentialID {
	t.Helper()
	id, err := telnyx.ParseCredentialID(s.telnyx.AddCredential(telnyxtest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *shop) vend(t *testing.T, id telnyx.CredentialID, want vending.Source) vending.Vended {
	t.Helper()
	got, err := s.Vend(t.Context(), id, vending.Ask{})
	if err != nil || got.Source != want || (got.StaleBecause != nil) != (want == vending.Stale) {
		t.Fatalf("from %q because of %v, %v; want from %q", got.Source, got.StaleBecause, err, want)
	}
	if of, ok := s.telnyx.CredentialOf(got.JWT.Reveal()); !ok || of != id.String() {
		t.Fatalf("the token is for %s, want %s", of, id)
	}
	return got
}

func TestATokenIsKeptWhileHalfOfItsLifeIsLeft(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: 24 * time.Hour})
	id := s.credential(t)
	first := s.vend(t, id, vending.Minted)
	s.clock.Advance(9 * time.Hour) // not yet renewed ahead of need
	if kept := s.vend(t, id, vending.Cached); kept.JWT.Reveal() != first.JWT.Reveal() {
		t.Error("the kept token is another one")
	}
	s.clock.Advance(4 * time.Hour)
	s.vend(t, id, vending.Minted)
	if n := s.telnyx.Requests("token"); n != 2 || s.mints.Load() != 2 {
		t.Errorf("Telnyx was asked %d times, OnMint told of %d; want 2", n, s.mints.Load())
	}
}

func TestCallersOfOneColdCredentialShareOneMint(t *testing.T) {
	s := open(t, telnyxtest.Options{Latency: 200 * time.Millisecond})
	id := s.credential(t)
	var wg sync.WaitGroup
	tokens := make([]string, 64)
	for i := range tokens {
		wg.Go(func() {
			token, err := s.Vend(t.Context(), id, vending.Ask{})
			if err != nil {
				t.Error(err)
			}
			tokens[i] = token.JWT.Reveal()
		})
	}
	wg.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Error("two callers have different tokens")
		}
	}
	if n := s.telnyx.Requests("token"); n != 1 {
		t.Errorf("%d mints, want 1", n)
	}
}

func TestTheFirstCallerLeavingDoesNotFailTheOthers(t *testing.T) {
	s := open(t, telnyxtest.Options{Latency: 300 * time.Millisecond})
	id := s.credential(t)
	first, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := s.Vend(first, id, vending.Ask{}); left <- err }()
	for s.telnyx.Requests("token") == 0 { // until the mint is under way
		select {
		case err := <-left:
			t.Fatalf("the first caller got %v before leaving", err)
		case <-time.After(time.Millisecond):
		}
	}
	others := make(chan error)
	for range 8 {
		go func() { _, err := s.Vend(t.Context(), id, vending.Ask{}); others <- err }()
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v, want context.Canceled", err)
	}
	for range 8 {
		if err := <-others; err != nil {
			t.Errorf("who stayed got %v", err)
		}
	}
	s.vend(t, id, vending.Cached)
	if n := s.telnyx.Requests("token"); n != 1 {
		t.Errorf("%d mints, want 1", n)
	}
}

func TestACallerWhoseTimeIsUpIsToldSo(t *testing.T) {
	s := open(t, telnyxtest.Options{Latency: 500 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Vend(ctx, s.credential(t), vending.Ask{}); !errors.Is(err, telnyx.ErrTimeout) {
		t.Errorf("got %v, want telnyx.ErrTimeout", err)
	}
}

func TestWhatAKeptTokenStandsInFor(t *testing.T) {
	const life = 24 * time.Hour
	for name, row := range map[string]struct {
		fault telnyxtest.Fault
		left  time.Duration // of the kept token's life
		stale bool
		err   error // why: the caller's error, or what is told beside the stale token
	}{
		"a failing Telnyx":              {telnyxtest.Fault{Status: 500}, 6 * time.Minute, true, telnyx.ErrUnavailable},
		"a Telnyx that limits us":       {telnyxtest.Fault{Status: 429}, 6 * time.Minute, true, telnyx.ErrLimited},
		"a broken connection":           {telnyxtest.Fault{Shape: telnyxtest.Reset}, 6 * time.Minute, true, telnyx.ErrUnavailable},
		"a maintenance page":            {telnyxtest.Fault{Shape: telnyxtest.HTML}, 6 * time.Minute, true, telnyx.ErrBadAnswer},
		"a rejected key":                {telnyxtest.Fault{Status: 401}, 6 * time.Minute, true, telnyx.ErrKeyRejected},
		"not with too little life left": {telnyxtest.Fault{Status: 500}, 4 * time.Minute, false, telnyx.ErrUnavailable},
		"not a rejected credential":     {telnyxtest.Fault{Status: 404}, 6 * time.Minute, false, telnyx.ErrCredentialRejected},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, telnyxtest.Options{TokenLife: life})
			id := s.credential(t)
			s.vend(t, id, vending.Minted)
			s.clock.Advance(life - row.left)
			s.telnyx.Inject(row.fault)
			if row.stale {
				if got := s.vend(t, id, vending.Stale); !errors.Is(got.StaleBecause, row.err) {
					t.Errorf("stale because of %v, want %v", got.StaleBecause, row.err)
				}
				return
			}
			if _, err := s.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, row.err) {
				t.Errorf("got %v, want %v", err, row.err)
			}
		})
	}
}

func TestARejectedCredentialsTokenIsForgotten(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: 24 * time.Hour})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.clock.Advance(13 * time.Hour)
	s.telnyx.Inject(telnyxtest.Fault{Status: 404, Times: 1})
	if _, err := s.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, telnyx.ErrCredentialRejected) {
		t.Fatalf("got %v", err)
	}
	s.telnyx.Inject(telnyxtest.Fault{Status: 500})
	if got, err := s.Vend(t.Context(), id, vending.Ask{}); err == nil {
		t.Errorf("its token is still handed out, from %q", got.Source)
	}
}

func TestATokenThatHasExpiredIsNoToken(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: time.Hour})
	id := s.credential(t)
	machineAhead, err := vending.New(vending.Config{
		Minter: late{s.Machine},
		Now:    func() time.Time { return s.clock.Now().Add(2 * time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer machineAhead.Close()
	if _, err := machineAhead.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, telnyx.ErrBadAnswer) {
		t.Errorf("got %v, want telnyx.ErrBadAnswer", err)
	}
}

// late passes on what another machine vends, which by its own clock is good.
type late struct{ *vending.Machine }

func (l late) Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error) {
	got, err := l.Vend(ctx, id, vending.Ask{})
	return got.LoginToken, err
}

func TestNobodyGetsAnothersToken(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: 100 * time.Hour})
	var ids []telnyx.CredentialID
	for range 25 {
		ids = append(ids, s.credential(t))
	}
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := range 250 {
				id := ids[(worker*7+i)%len(ids)]
				token, err := s.Vend(t.Context(), id, vending.Ask{})
				if err != nil {
					t.Error(err)
					return
				}
				if of, _ := s.telnyx.CredentialOf(token.JWT.Reveal()); of != id.String() {
					t.Errorf("asked for %s, got a token for %s", id, of)
					return
				}
				if i%50 == 0 { // 80 h in all: some are minted again, none expires
					s.clock.Advance(time.Hour)
				}
			}
		})
	}
	wg.Wait()
}

func TestNonsenseIsRefusedAtConstruction(t *testing.T) {
	minter := late{}
	for name, cfg := range map[string]vending.Config{
		"no minter":         {},
		"a whole life":      {Minter: minter, MinLife: 1},
		"a negative life":   {Minter: minter, MinLife: -0.1},
		"a negative number": {Minter: minter, MaxTokens: -1},
		"nobody may wait":   {Minter: minter, MaxWaiting: -1},
	} {
		if _, err := vending.New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func BenchmarkVendCached(b *testing.B) {
	clock := &clock{start: time.Now()}
	m, err := vending.New(vending.Config{Minter: fixed{clock.Now().Add(time.Hour)}})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	id, err := telnyx.ParseCredentialID(fmt.Sprintf("%032x", 1)[:8] + "-0000-4000-8000-000000000001")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Vend(b.Context(), id, vending.Ask{}); err != nil {
			b.Fatal(err)
		}
	}
}

type fixed struct{ until time.Time }

func (f fixed) Mint(context.Context, telnyx.CredentialID) (telnyx.LoginToken, error) {
	return telnyx.LoginToken{JWT: secret.New("x"), ExpiresAt: f.until}, nil
}
