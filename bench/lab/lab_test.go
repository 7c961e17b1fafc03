package lab_test

import (
	"os"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

// What the benchmarks are made of, for a moment: the service and the ceiling are
// asked for tokens, and what that cost is read.
func TestTheBenchmarksParts(t *testing.T) {
	ctx := t.Context()
	l, err := lab.New(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(l.Path("")); err == nil {
			t.Error("what it wrote is still there")
		}
	})
	upstream, err := l.Upstream(ctx, lab.UpstreamOptions{Users: 3, Algorithm: "RS256", Latency: time.Millisecond, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	users, err := upstream.Users(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := l.Tokensvc(ctx)
	if err != nil {
		t.Fatal(err)
	}
	service, err := l.Service(ctx, "tokensvc", binary, upstream, users)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := l.Bare(ctx, 900)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*lab.Server{service, bare} {
		ask(t, s, users)
	}
	counts, err := upstream.Counts(ctx)
	if err != nil || counts.Mints != 2 || counts.Limited != 0 || counts.Connections < 1 || counts.KeyFetches < 1 {
		t.Errorf("%v; the upstream has counted %+v", err, counts)
	}
}

// ask has two users ask for a while.
func ask(t *testing.T, s *lab.Server, users []lab.User) {
	t.Helper()
	plan := load.Plan{Address: s.Address, Connections: 2}
	for _, u := range users {
		plan.Requests = append(plan.Requests, load.Post(s.Address, "/v1/token", u.Bearer, ""))
	}
	meter, err := lab.Measure(s.Process)
	if err != nil {
		t.Fatal(err)
	}
	result, err := load.Closed(t.Context(), plan, 300*time.Millisecond)
	if err != nil {
		t.Fatalf("%s: %v\n%s", s.Name, err, s.Log())
	}
	spent, err := meter.Spent()
	if err != nil || spent[0] <= 0 || spent[0] > 10*time.Second || result.Count() < 2 {
		t.Errorf("%s: %v; %d answers took %v of the processors", s.Name, err, result.Count(), spent)
	}
	now, most, err := s.Memory()
	if err != nil || now < 1<<20 || most < now {
		t.Errorf("%s: %v; it has %d bytes, and had %d", s.Name, err, now, most)
	}
}

func TestMedian(t *testing.T) {
	if got := lab.Median([]int{9, 1, 5}); got != 5 {
		t.Errorf("got %d, want 5", got)
	}
	if got := lab.Median([]int(nil)); got != 0 {
		t.Errorf("the median of none is %d", got)
	}
}
