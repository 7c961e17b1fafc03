package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/tracing"
)

const (
	// maxAddresses bounds how many addresses' refusals are remembered. Whoever has
	// more of them takes the places of the least refused.
	maxAddresses = 100_000
	// warnPause is the time between two warnings about one address.
	warnPause = time.Minute
)

// tooManyRefused is what is told to whoever comes from an address that has had its
// share.
const tooManyRefused = "Too many requests from your address were refused."

// addresses keeps each address to a rate of requests that are refused for who
// sends them. What comes from it beyond that is not looked at, so that whoever
// invents bearers costs neither signatures nor questions to issuers. It does not
// touch whoever has shown the same bearer within the last minutes; who comes with a
// new one from that address waits.
type addresses struct {
	every     time.Duration // between two refusals, in the long run
	burst     time.Duration // that may come at once, in such times
	perMinute int
	atOnce    int
	proxied   bool       // whose clients' addresses we are told by proxies that are trusted
	shared    sharedRate // or nil
	log       zerolog.Logger
	now       func() time.Time
	of        *otter.Cache[netip.Prefix, *refused]
	// some is until when some address may have had its share, in Unix nanoseconds.
	// As good as always that is long ago, and nothing else needs to be looked at.
	some atomic.Int64
}

// refused is what is remembered of an address.
type refused struct {
	// full is when its share will be whole again, in Unix nanoseconds: each refusal
	// moves it on.
	full   atomic.Int64
	warned atomic.Int64 // when, in Unix nanoseconds
}

// newAddresses returns nil, which lets everybody in, if there is to be no bound.
func newAddresses(cfg Config) (*addresses, error) {
	if cfg.AddressPerMinute == 0 {
		return nil, nil
	}
	if cfg.AddressPerMinute < 1 || cfg.AddressBurst < 1 {
		return nil, errors.New("handler: an address's rate and burst must be positive, or the rate 0 for none")
	}
	every := time.Minute / time.Duration(cfg.AddressPerMinute)
	a := &addresses{
		every: every, burst: every * time.Duration(cfg.AddressBurst),
		perMinute: cfg.AddressPerMinute, atOnce: cfg.AddressBurst,
		proxied: len(cfg.TrustedProxies) > 0, shared: cfg.SharedRate, log: cfg.Log, now: cfg.Now,
	}
	var err error
	a.of, err = otter.New(&otter.Options[netip.Prefix, *refused]{
		MaximumSize: maxAddresses,
		// Whoever was not refused for as long as this is the same as new.
		ExpiryCalculator: otter.ExpiryAccessing[netip.Prefix, *refused](2*a.burst + warnPause),
	})
	if err != nil {
		return nil, fmt.Errorf("handler: addresses' rates: %w", err)
	}
	return a, nil
}

func (a *addresses) close() {
	if a != nil {
		a.of.StopAllGoroutines()
	}
}

// network is what counts as one address: whoever has one of IPv6 mostly has the 64
// bits behind it to themselves.
func network(client netip.Addr) netip.Prefix {
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	p, _ := client.WithZone("").Prefix(bits) // the zero Prefix if the address is not known
	return p
}

// isOne reports whether the address that a request came from can be one client's. If
// we know of no proxies, whoever says that he forwards is one, and so may be whoever
// comes from a network of our own: to bound him would be to bound everybody. To say so
// without being one costs us what anybody cost us without a bound.
func (a *addresses) isOne(r *http.Request, client netip.Addr) bool {
	switch {
	case a == nil:
		return false
	case a.proxied:
		return true
	}
	return len(r.Header["X-Forwarded-For"]) == 0 && len(r.Header["Forwarded"]) == 0 &&
		client.IsGlobalUnicast() && !client.IsPrivate()
}

// mayTry returns nil, or when somebody from there who is not known may try again.
func (a *addresses) mayTry(client netip.Addr) error {
	if a == nil || a.some.Load() == 0 {
		return nil
	}
	now := a.now()
	if until := a.some.Load(); until <= now.UnixNano() {
		a.some.CompareAndSwap(until, 0)
		return nil
	}
	r, ok := a.of.GetIfPresent(network(client))
	if !ok {
		return nil
	}
	wait := a.wait(r, now)
	if wait <= 0 {
		return nil
	}
	a.warn(r, client, now)
	return &requestError{outcome: RateLimited, detail: tooManyRefused, retry: wait}
}

// wait is how long the address has nothing left of its share.
func (a *addresses) wait(r *refused, now time.Time) time.Duration {
	return time.Duration(r.full.Load()-now.UnixNano()) + a.every - a.burst
}

// count takes one of an address's share, if why a request from there was refused is
// what counts.
func (a *addresses) count(ctx context.Context, client netip.Addr, why error) {
	if a == nil || !slices.Contains(refusedForWho, OutcomeOf(why)) || reasonOf(why) == authz.ReasonProofNonce {
		return
	}
	at := network(client)
	r, ok := a.of.GetIfPresent(at)
	if !ok {
		r, _ = a.of.SetIfAbsent(at, new(refused))
	}
	elsewhere := time.Duration(0)
	if a.shared != nil {
		elsewhere, _ = a.shared(ctx, "address", at.String(), a.perMinute, a.atOnce)
	}
	now := a.now()
	for before := r.full.Load(); !r.full.CompareAndSwap(before, a.moved(before, now, elsewhere)); before = r.full.Load() {
	}
	if wait := a.wait(r, now); wait > 0 {
		a.someUntil(now.Add(wait).UnixNano())
	}
}

// refusedForWho are the outcomes that count: those of whoever tries bearers. To be
// told a nonce is none, but how DPoP begins.
var refusedForWho = []Outcome{Unauthenticated, InvalidToken, Denied, NoCredential}

// moved is when the share will be whole again after one more refusal. elsewhere is
// how long all replicas together have nothing left for the address. Requests that
// were let in together may take more than there was: the address pays that back,
// but no more than another burst.
func (a *addresses) moved(full int64, now time.Time, elsewhere time.Duration) int64 {
	next := max(full, now.UnixNano()) + int64(a.every)
	if elsewhere > 0 {
		next = max(next, now.Add(elsewhere+a.burst-a.every).UnixNano())
	}
	return min(next, now.Add(2*a.burst).UnixNano())
}

func (a *addresses) someUntil(until int64) {
	for {
		before := a.some.Load()
		if before >= until || a.some.CompareAndSwap(before, until) {
			return
		}
	}
}

// warn tells the operator, once a minute for each address.
func (a *addresses) warn(r *refused, client netip.Addr, now time.Time) {
	last := r.warned.Load()
	if now.UnixNano()-last < int64(warnPause) || !r.warned.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	a.log.Warn().Stringer("client", client).
		Msg("so many requests from this address are refused that more are not looked at; if it is a proxy's, set trusted_proxies")
}

// verify returns who sent a request. Whoever is not known is not looked at when too
// many from their address were refused.
func (s *Service) verify(ctx context.Context, ev *event, r *http.Request) (who *authz.Principal, err error) {
	shown := s.evidence(ev, r)
	if err := s.addresses.mayTry(ev.client); err != nil && !s.verifier.Known(shown) {
		return nil, err
	}
	defer ev.steps.took(&ev.steps.verify, ev.began)
	ctx, step := s.traces.tracer.Step(ctx, tracing.Verify)
	defer left(step, &err)
	return s.verifier.Verify(ctx, shown)
}

// counting has the refusals of an endpoint count for the address they go to.
func (s *Service) counting(e endpoint) endpoint {
	return func(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error {
		err := e(ctx, ev, w, r)
		if err != nil && s.addresses.isOne(r, ev.client) {
			s.addresses.count(ctx, ev.client, err)
		}
		return err
	}
}
