package reliability_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	soakPeople = 2000
	soakRate   = 100 // requests a second
	// soakLife makes about a third of requests a mint: somebody asks every 20 s,
	// and a token is good for half of its life.
	soakLife   = 2 * time.Minute
	forgedEach = 20 // one in so many bearers is forged
)

// The service runs for a long time at a moderate load, with a fault now and then,
// and holds no more at the end than it did.
func TestSoak(t *testing.T) {
	t.Parallel()
	w := begin(t, setup{
		telnyx: telnyxtest.Options{TokenLife: soakLife, Latency: 20 * time.Millisecond}, newcomers: soakPeople, noAgers: true,
		env: map[string]string{"TOKENSVC_VENDING_MIN_LIFE": "0.5", "TELNYX_TIMEOUT": "3s"},
	})
	s := newSoak(t, w)
	began := time.Now()
	stopAsking := every(time.Second/soakRate, s.ask)
	stopBreaking := every(max(*soakLasts/60, 2*time.Second), s.breakSomething)
	stopLooking := every(max(*soakLasts/360, 200*time.Millisecond), s.look)
	wait(t, *soakLasts)
	stopBreaking()
	s.mendAll()
	stopAsking()
	stopLooking()
	s.asking.Wait()
	w.checkOutput(t)
	s.report(t, time.Since(began))
}

// soak is one run.
type soak struct {
	t       *testing.T
	w       *world
	client  *http.Client
	bearers []string
	forged  string
	asking  sync.WaitGroup
	broken  atomic.Int64 // when something last was, in Unix nanoseconds
	faults  int

	mu       sync.Mutex
	outcomes counts
	looks    []look
}

// look is what the service held at a moment.
type look struct {
	at time.Duration
	footprint
	heap int // MiB
}

func newSoak(t *testing.T, w *world) *soak {
	t.Helper()
	s := &soak{t: t, w: w, client: w.newClient(t), outcomes: counts{}}
	for n := range soakPeople {
		s.bearers = append(s.bearers, w.issuer.Bearer(newcomers.name(n), nil))
	}
	signed := s.bearers[0][:strings.LastIndexByte(s.bearers[0], '.')+1]
	s.forged = signed + strings.Repeat("A", 86)
	s.look()
	return s
}

// ask has somebody ask.
func (s *soak) ask() {
	s.asking.Go(func() {
		n := rand.IntN(soakPeople)
		bearer, want := s.bearers[n], issued
		if rand.IntN(forgedEach) == 0 {
			bearer, want = s.forged, invalidToken
		}
		got := s.w.askAs(context.Background(), s.client, s.w.urls[0], newcomers.name(n), bearer)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.outcomes[got.outcome]++
		inTrouble := got.sent.Sub(time.Unix(0, s.broken.Load())) < soon
		if got.outcome != want && (!inTrouble || !strings.HasPrefix(got.outcome, "upstream_")) {
			s.t.Errorf("somebody got %s, want %s", got.outcome, want)
		}
	})
}

// breakSomething breaks this or that for a second.
func (s *soak) breakSomething() {
	begin := []func(){
		func() { s.w.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 503}) },
		s.w.line.drop,
		func() { s.w.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Hang}) },
		func() { s.w.issuer.Break(hangUp) },
		func() { s.w.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Reset}) },
	}
	s.broken.Store(time.Now().Add(time.Second).UnixNano())
	begin[s.faults%len(begin)]()
	s.faults++
	wait(s.t, time.Second)
	s.mendAll()
	s.broken.Store(time.Now().UnixNano())
}

func (s *soak) mendAll() {
	s.w.telnyx.ClearFaults()
	s.w.issuer.Break(nil)
}

func (s *soak) look() {
	f, err := s.w.services[0].footprint()
	heap, err2 := s.w.services[0].metric("go_memstats_heap_inuse_bytes")
	if err != nil || err2 != nil {
		s.t.Errorf("looking at the service: %v, %v", err, err2)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Duration(0)
	if len(s.looks) > 0 {
		at = time.Since(s.w.began)
	}
	s.looks = append(s.looks, look{at: at, footprint: f, heap: int(heap) >> 20})
}

// report says how it went, and wants what grows to be nothing.
func (s *soak) report(t *testing.T, lasted time.Duration) {
	t.Helper()
	if *soakCSV != "" {
		if err := s.write(*soakCSV); err != nil {
			t.Error(err)
		}
	}
	later := s.looks[len(s.looks)/3:] // once everybody has a token
	first, last := later[0], later[len(later)-1]
	growth := map[string]float64{
		"MiB":         slope(later, func(l look) int { return l.rss }),
		"MiB of heap": slope(later, func(l look) int { return l.heap }),
		"goroutines":  slope(later, func(l look) int { return l.goroutines }),
		"descriptors": slope(later, func(l look) int { return l.descriptors }),
	}
	t.Logf("%v, %d faults: %v; from a third of it on %+v to %+v; growth in an hour: %.4v", lasted.Round(time.Second), s.faults, s.outcomes, first, last, growth)
	if lasted < 10*time.Minute { // what comes and goes would look like growth
		return
	}
	for what, perHour := range growth {
		if most := map[string]float64{"MiB": 8, "MiB of heap": 8, "goroutines": 20, "descriptors": 20}[what]; perHour > most {
			t.Errorf("%.1f %s more in an hour, want at most %.0f", perHour, what, most)
		}
	}
}

// slope is how much a figure grows in an hour, by least squares.
func slope(looks []look, of func(look) int) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, l := range looks {
		x, y := l.at.Hours(), float64(of(l))
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; d != 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}

func (s *soak) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows := [][]string{{"seconds", "rss_mib", "anonymous_mib", "heap_mib", "goroutines", "descriptors"}}
	for _, l := range s.looks {
		row := []string{fmt.Sprintf("%.1f", l.at.Seconds())}
		for _, v := range []int{l.rss, l.own, l.heap, l.goroutines, l.descriptors} {
			row = append(row, fmt.Sprint(v))
		}
		rows = append(rows, row)
	}
	return csv.NewWriter(f).WriteAll(rows)
}
