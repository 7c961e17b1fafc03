package reliability_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// A fault is a row: something breaks, and is mended.
type fault struct {
	name  string
	setup setup
	// begin breaks it, and returns what mends it. What must go on meanwhile is
	// over when the fault's time is.
	begin func(t *testing.T, w *world) (mend func())

	// What people may see until it is mended, and a moment longer. Nil is a token
	// and nothing else.
	holders, agers, newcomers []string
	// shows is what somebody must see, or else nothing was broken.
	shows string
	// within is how soon after mending everybody gets a token again.
	within time.Duration

	// check looks at what callers cannot see, when all is over.
	check func(t *testing.T, w *world)
	// stops is said of a process that does nothing for a while: holders wait too.
	stops bool
	// waits is how long some newcomer must have waited for an answer.
	waits time.Duration

	grows    int  // MiB that the fault may leave behind, beside the usual
	unready  bool // the service may say that it is not ready
	restarts bool // it is another process afterwards, so nothing can be compared
}

const (
	calm = time.Second // before the fault, and without a failure after it

	// slowestHit is how long whoever has a token may wait for it, whatever else is
	// broken. It is a thousand times what it takes, because many rows run at once.
	slowestHit = 1500 * time.Millisecond

	// How much more MiB a service may take after a fault: what the collector has not
	// given back. Goroutines and descriptors it has no more of.
	moreMemory = 48
)

// result is what a row found.
type result struct {
	fault         string
	seen          map[group]counts
	slowest       time.Duration // answer to a holder during the fault
	normalAfter   time.Duration
	mints         int         // in the busiest second after mending
	before, after []footprint // of each service
	failed        bool        // something was not as it must be
}

// counts is how often something came out.
type counts map[string]int

func runRows(t *testing.T, rows []fault) {
	t.Helper()
	for _, f := range rows {
		at := row{t.Name(), f.name}
		measured.expect(at)
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			measured.add(at, f.run(t))
		})
	}
}

func (f fault) run(t *testing.T) result {
	w := begin(t, f.setup)
	r := result{fault: f.name, before: w.quiet(t, nil)}
	l := w.startLoad(t)
	wait(t, max(calm, agerDue))

	l.sparing.Store(false)
	watch := w.watchReadiness()
	broke := time.Now()
	mend := f.begin(t, w)
	wait(t, *faultLasts-time.Since(broke))
	mended := time.Now()
	mend()
	unready := watch()
	counting := w.countMints(t)
	f.awaitNormal(t, l, mended)
	r.mints = counting()

	samples := l.end()
	w.explain(samples)
	f.judge(t, &r, samples, broke, mended)
	if unready > 0 && !f.unready {
		t.Errorf("it said %d times that it was not ready", unready)
	}
	r.after = w.quiet(t, r.before)
	if !f.restarts {
		compare(t, r.before, r.after, moreMemory+f.grows)
	}
	if f.check != nil {
		f.check(t, w)
	}
	w.checkOutput(t)
	t.Logf("%+v", r)
	r.failed = t.Failed()
	return r
}

// begin makes a world that is warm. Few do so at once, because starting is most
// of the work in a row.
func begin(t *testing.T, o setup) *world {
	t.Helper()
	beginning <- struct{}{}
	defer func() { <-beginning }()
	w := newWorld(t, o)
	w.warm(t)
	return w
}

var beginning = make(chan struct{}, 4)

// wait waits. The load goes on.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal("the test ends")
	}
}

// warm has tokens kept for those whom they are kept for. On a busy machine that
// may take more than one try, which is not what is tested.
func (w *world) warm(t *testing.T) {
	t.Helper()
	client := w.newClient(t)
	defer client.CloseIdleConnections()
	cold := slices.Collect(maps.Keys(w.bearers))
	slices.Sort(cold)
	for n := range w.urls {
		for _, user := range cold {
			process.Eventually(t, process.StartLimit, "a first token for "+user, func() error {
				if s := w.ask(t.Context(), client, n, user); s.outcome != issued {
					return errors.New(s.outcome)
				}
				return nil
			})
		}
	}
}

// quiet ends all connections to Telnyx and returns what each service holds without
// them, when that is no more than it was, or without a figure no more than a moment
// ago, or else after a while.
func (w *world) quiet(t *testing.T, before []footprint) []footprint {
	t.Helper()
	most := before
	deadline := time.Now().Add(20 * time.Second)
	for {
		w.line.drop()
		wait(t, 100*time.Millisecond)
		var now []footprint
		for _, p := range w.services {
			f, err := p.footprint()
			if err != nil {
				t.Fatal(err)
			}
			now = append(now, f)
		}
		if settled(most, now) || time.Now().After(deadline) {
			return now
		}
		if before == nil {
			most = now
		}
	}
}

// settled reports whether no service holds more than it did.
func settled(most, now []footprint) bool {
	for n, f := range most {
		if now[n].descriptors > f.descriptors || now[n].goroutines > f.goroutines {
			return false
		}
	}
	return len(most) > 0
}

// watchReadiness asks whether the first service is ready, all the time until the
// returned function is called, which says how often it was not.
func (w *world) watchReadiness() func() (unready int) {
	p, unready := w.services[0], 0
	stop := every(200*time.Millisecond, func() {
		if p.get("/readyz") != http.StatusOK {
			unready++
		}
	})
	return func() int {
		stop()
		return unready
	}
}

// countMints counts what is asked of Telnyx until the returned function is
// called, which says how much it was in the busiest second.
func (w *world) countMints(t *testing.T) func() (busiest int) {
	t.Helper()
	type count struct {
		at    time.Time
		total int
	}
	now := func() count { return count{time.Now(), w.telnyx.Requests(telnyxtest.Token)} }
	counted := []count{now()}
	stop := every(50*time.Millisecond, func() { counted = append(counted, now()) })
	return func() int {
		stop()
		busiest, from := 0, 0
		for _, c := range counted {
			for c.at.Sub(counted[from].at) > time.Second {
				from++
			}
			busiest = max(busiest, c.total-counted[from].total)
		}
		return busiest
	}
}

// awaitNormal waits until everybody has had a token for a while, or until that is
// overdue.
func (f fault) awaitNormal(t *testing.T, l *load, mended time.Time) {
	t.Helper()
	overdue := mended.Add(f.within + 3*calm)
	for {
		failed, answered := l.lastFailure(mended)
		if answered.Sub(failed) >= calm || time.Now().After(overdue) {
			return
		}
		wait(t, 50*time.Millisecond)
	}
}

// judge holds what came out to what may.
func (f fault) judge(t *testing.T, r *result, samples []sample, broke, mended time.Time) {
	t.Helper()
	may := map[group][]string{holders: f.holders, agers: f.agers, newcomers: f.newcomers}
	r.seen = map[group]counts{holders: {}, agers: {}, newcomers: {}}
	why := map[string]string{}
	wrong, shown, longest := counts{}, f.shows == "", time.Duration(0)
	for _, s := range samples {
		if !s.sent.Before(broke) && s.sent.Before(mended) {
			r.seen[s.who][s.String()]++
			shown = shown || s.String() == f.shows || s.outcome == f.shows
			switch s.who {
			case holders:
				r.slowest = max(r.slowest, s.took)
			case newcomers:
				longest = max(longest, s.took)
			}
		}
		if !s.sent.Before(mended) && s.outcome != issued {
			r.normalAfter = max(r.normalAfter, s.sent.Sub(mended))
		}
		broken := !s.sent.Add(s.took).Before(broke) && s.sent.Before(mended.Add(f.within))
		what := ""
		switch allowed := may[s.who]; {
		case s.outcome == issued:
			continue
		case !broken:
			what = fmt.Sprintf("a %s got %s while all was in order", s.who, s.outcome)
		case !slices.Contains(allowed, s.outcome):
			what = fmt.Sprintf("a %s got %s, and may get a token %s", s.who, s.outcome, strings.Join(allowed, " "))
		default:
			continue
		}
		wrong[what]++
		why[what] = fmt.Sprintf("one was sent %v after it began, took %v: %s", s.sent.Sub(broke), s.took, s.why)
	}
	for what, times := range wrong {
		t.Errorf("%s (%d times; %s)", what, times, why[what])
	}
	if !shown {
		t.Errorf("nobody saw %s, so nothing was broken: %v", f.shows, r.seen)
	}
	if longest < f.waits {
		t.Errorf("nobody waited for longer than %v, so nothing was broken", longest)
	}
	// How long things take is for `make reliability` to judge: beside all other tests
	// the machine has no time.
	within := f.within
	if !thorough() {
		within *= 3
	}
	if thorough() && r.slowest > slowestHit && !f.stops && !f.restarts {
		t.Errorf("a %s waited %v, want at most %v", holders, r.slowest, slowestHit)
	}
	if r.normalAfter > within {
		t.Errorf("all was as before %v after the end of it, want at most %v", r.normalAfter, within)
	}
}

// String is what came out of it, and for a token where it came from.
func (s sample) String() string {
	if s.source != "" {
		return s.outcome + " (" + s.source + ")"
	}
	return s.outcome
}

// lateStarters is how many goroutines a service may not have begun yet when it is
// first looked at: beside all other tests that is soon after it is ready, and what
// keeps the connection to the Redis, or looks after the database, may come a moment
// later. There are none with faults that last, which begin after a while.
func lateStarters() int {
	if thorough() {
		return 0
	}
	return 4
}

// compare wants each service to hold no more than it did, and to take no more than
// so many MiB more.
func compare(t *testing.T, before, after []footprint, moreMemory int) {
	t.Helper()
	for n, f := range after {
		was := before[n]
		if f.descriptors > was.descriptors {
			t.Errorf("%d descriptors are open after it, and %d were before", f.descriptors, was.descriptors)
		}
		if f.goroutines > was.goroutines+lateStarters() {
			t.Errorf("%d goroutines run after it, and %d did before", f.goroutines, was.goroutines)
		}
		if f.rss > was.rss+moreMemory {
			t.Errorf("it takes %d MiB after it, and took %d before", f.rss, was.rss)
		}
	}
}
