package reliability_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Telnyx is away for ten minutes. Who has a token notices nothing; the others get
// one outcome, come back when they are told to, and are served soon after Telnyx is
// there again, at a rate that it allows.
func TestTelnyxAwayForTenMinutes(t *testing.T) {
	t.Parallel()
	const (
		limit   = 100 // requests a second
		waiting = 250 // people, when it comes back

		// The breaker asks about once a second, and each step of the clock is more
		// than that. Without it there are 400 calls and more.
		mostCalls = 3 * clockSteps
		// Who was refused a moment before by Telnyx itself, because his was the call
		// that tried it, was told to come back in 5 s, and then stands in line. The
		// others, who were not asked for, were told 1 to 3 s.
		lastOne = soon + time.Second
		slowHit = time.Second
	)
	lasts := max(10*time.Second, *faultLasts)
	w := begin(t, setup{
		movable: true, noAgers: true, newcomers: 2000,
		telnyx: telnyxtest.Options{RateLimit: limit},
		// Or else holders' tokens are due when it comes back, and they are in line too.
		env: map[string]string{"TOKENSVC_VENDING_MIN_LIFE": "0.5"},
	})
	before := w.quiet(t, nil)
	p := w.arrive(t, lasts/waiting)
	wait(t, calm)

	broke, called := time.Now(), w.calls(t)
	w.line.cut()
	w.passDuring(t, 10*time.Minute, lasts)
	called = w.calls(t) - called
	mended := time.Now()
	w.line.restore(t)
	counting := w.countMints(t)
	wait(t, soon+2*calm)
	busiest := counting()
	asked := p.end()
	compare(t, before, w.quiet(t, before), moreMemory)
	w.checkOutput(t)

	outcomes, late, slowest := counts{}, counts{}, time.Duration(0)
	for _, s := range asked {
		if s.who == holders {
			slowest = max(slowest, s.took)
		}
		switch {
		case s.outcome == issued:
		case s.who == holders:
			t.Errorf("a holder got %s", s.outcome)
		case s.sent.Before(mended):
			outcomes[s.outcome]++
		case s.sent.After(mended.Add(soon)):
			late[s.outcome]++
		}
	}
	told := fmt.Sprintf("Telnyx away for ten minutes (its clock and ours moved, %v in fact), with a limit of %d requests a second: who had a token got one every time; the others got %v. "+
		"%d people had arrived meanwhile and waited; %d calls were made, and the slowest answer to who had a token took %s. In the busiest second afterwards there were %d requests to Telnyx, and the last who had waited was served after %s.",
		lasts, limit, outcomes, p.waited(broke, mended), called, brief(slowest), busiest, brief(p.lastServed(mended)))
	t.Log(told)
	measured.tell(told)
	if len(outcomes) != 1 || outcomes[upstreamUnavailable] == 0 {
		t.Errorf("while it was away people got %v, want %s alone", outcomes, upstreamUnavailable)
	}
	if len(late) > 0 {
		t.Errorf("more than %v after it came back people got %v", soon, late)
	}
	// Beside all other tests calls wait for a processor on their way, and some arrive
	// together that were sent apart.
	spare := limit / 20
	if thorough() {
		spare = 0
	}
	if busiest > limit+spare {
		t.Errorf("%d requests were made of Telnyx in a second, want at most %d", busiest, limit)
	}
	if n := p.waited(broke, mended); n < waiting/2 {
		t.Errorf("only %d people waited", n)
	}
	if n := w.telnyx.Limited(); n > spare {
		t.Errorf("%d requests were more than Telnyx allows", n)
	}
	// How long it takes is for `make reliability` to judge: beside all other tests the
	// machine has no time.
	if last := p.lastServed(mended); thorough() && last > lastOne {
		t.Errorf("the last who had waited was served %v after it came back, want at most %v", last, lastOne)
	}
	if called > mostCalls {
		t.Errorf("%d calls were made while nobody answered, want at most %d", called, mostCalls)
	}
	if thorough() && slowest > slowHit {
		t.Errorf("a holder waited %v, want at most %v", slowest, slowHit)
	}
}

// calls is how many calls the first service has made of Telnyx, those included that
// nobody answered.
func (w *world) calls(t *testing.T) int {
	t.Helper()
	n, err := w.services[0].total("tokensvc_telnyx_calls_total", "")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// clockSteps is in how many steps the clock goes on.
const clockSteps = 50

// passDuring has that much time go by in so much real time.
func (w *world) passDuring(t *testing.T, total, lasts time.Duration) {
	t.Helper()
	for n := range clockSteps {
		w.clock.set(t, total*time.Duration(n+1)/clockSteps, 0)
		wait(t, lasts/clockSteps)
	}
}

// people are holders who ask steadily, and newcomers who arrive one after another
// and come back when they are told to until they have a token.
type people struct {
	stop, leave func()
	all         sync.WaitGroup

	mu    sync.Mutex
	asked []sample
	first map[string]time.Time // when a newcomer first asked
	had   map[string]time.Time // and had a token
}

// arrive has a newcomer arrive each interval, and holders ask ten times a second.
func (w *world) arrive(t *testing.T, interval time.Duration) *people {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &people{stop: stop, first: map[string]time.Time{}, had: map[string]time.Time{}}
	client := w.newClient(t)
	p.leave = client.CloseIdleConnections
	holding, arriving := 0, 0
	stopHolders := every(100*time.Millisecond, func() {
		user := holders.name(holding % howManyHolders)
		holding++
		p.all.Go(func() { p.note("", w.ask(context.WithoutCancel(ctx), client, 0, user)) })
	})
	stopNewcomers := every(interval, func() {
		user := newcomers.name(arriving)
		arriving++
		p.all.Go(func() { p.persist(ctx, w, client, user) })
	})
	p.stop = func() {
		stopHolders()
		stopNewcomers()
		stop()
	}
	return p
}

// persist asks until there is a token.
func (p *people) persist(ctx context.Context, w *world, client *http.Client, user string) {
	for ctx.Err() == nil {
		s := w.ask(context.WithoutCancel(ctx), client, 0, user)
		p.note(user, s)
		if s.outcome == issued {
			return
		}
		select {
		case <-time.After(max(s.retry, 100*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// note notes what a holder got, or a newcomer whose name is given.
func (p *people) note(newcomer string, s sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, s)
	if newcomer == "" {
		return
	}
	if _, asked := p.first[newcomer]; !asked {
		p.first[newcomer] = s.sent
	}
	if s.outcome == issued {
		p.had[newcomer] = s.sent.Add(s.took)
	}
}

func (p *people) end() []sample {
	p.stop()
	p.all.Wait()
	p.leave()
	return p.asked
}

// waited is how many arrived in that time and had no token at the end of it.
func (p *people) waited(from, until time.Time) int {
	n := 0
	for user, first := range p.first {
		if had, ok := p.had[user]; first.After(from) && first.Before(until) && (!ok || had.After(until)) {
			n++
		}
	}
	return n
}

// lastServed is how long after it the last of those was served who had arrived
// before. Who was never counts as an hour.
func (p *people) lastServed(mended time.Time) (last time.Duration) {
	for user, first := range p.first {
		if first.After(mended) {
			continue
		}
		had, ok := p.had[user]
		if !ok {
			return time.Hour
		}
		last = max(last, had.Sub(mended))
	}
	return last
}

// However many ask however many replicas for one credential, Telnyx is asked once. It
// runs alone: a Redis that does not answer in a tenth of a second is done without.
func TestReplicasMintOnceTogether(t *testing.T) {
	const each = 64
	w := begin(t, setup{
		redis: true, replicas: 2, newcomers: 10,
		telnyx: telnyxtest.Options{Latency: 400 * time.Millisecond},
	})
	held := w.quiet(t, nil)
	client := w.newClient(t)
	w.bearers[newcomers.name(0)] = w.issuer.Bearer(newcomers.name(0), nil)
	for _, p := range w.services {
		if up, err := p.metric("tokensvc_shared_cache_up"); err != nil || up != 1 {
			t.Fatalf("a replica is without the Redis: %v, %v", up, err)
		}
	}
	before := w.telnyx.Requests(telnyxtest.Token)
	answers := make([]sample, 2*each)
	var asking sync.WaitGroup
	for n := range answers {
		asking.Go(func() { answers[n] = w.ask(t.Context(), client, n, newcomers.name(0)) })
	}
	asking.Wait()
	client.CloseIdleConnections()
	compare(t, held, w.quiet(t, held), moreMemory)
	for _, s := range answers {
		if s.outcome != issued {
			t.Errorf("got %s", s.outcome)
		}
	}
	n := w.telnyx.Requests(telnyxtest.Token) - before
	measured.tell(fmt.Sprintf("Two replicas with a Redis, %d callers on each at once for one credential that had no token: Telnyx was asked %d time.", each, n))
	if n != 1 {
		t.Errorf("%d tokens asked of Telnyx by %d callers of two replicas, want 1", n, 2*each)
	}
}
