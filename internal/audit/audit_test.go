package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/audit"
)

// sink stands for what is written to. It fails, or takes less than it is given, or waits,
// as it is told.
type sink struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
	room   int           // bytes that it takes before it fails, if failing
	fails  error         // with
	gate   chan struct{} // if not nil, what each write waits for
}

var errFull = errors.New("no room is left")

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fails == nil {
		return s.text.Write(p)
	}
	n, _ := s.text.Write(p[:min(s.room, len(p))])
	s.room -= n
	return n, s.fails
}

func (s *sink) fail(err error, room int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.room = err, room
}

func (s *sink) block(gate chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func open(t *testing.T, cfg audit.Config) *audit.Trail {
	t.Helper()
	trail, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return trail
}

// reading reads what was written.
func reading(t *testing.T, texts ...string) *audit.Reading {
	t.Helper()
	var g audit.Reading
	for _, text := range texts {
		if err := g.Read(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	return &g
}

// wantRun wants one run of so many records, none of which is missing.
func wantRun(t *testing.T, g *audit.Reading, records uint64) *audit.Run {
	t.Helper()
	if len(g.Runs()) != 1 {
		t.Fatalf("%d runs, want 1", len(g.Runs()))
	}
	r := g.Runs()[0]
	if r.Records != records || r.Last() != records || r.Missing() != 0 || r.Again != 0 {
		t.Errorf("%d records up to %d, missing %d %v, %d twice; want %d", r.Records, r.Last(), r.Missing(), r.Gaps(), r.Again, records)
	}
	return r
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryRecordIsThereAndNumbered(t *testing.T) {
	const callers, each = 64, 200
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	trail := open(t, audit.Config{Path: path, Version: "v1"})
	if err := trail.Begin(); err != nil {
		t.Fatal(err)
	}
	var together sync.WaitGroup
	for c := range callers {
		together.Go(func() {
			for i := range each {
				r := audit.Record{What: audit.Token, Outcome: "issued", RequestID: fmt.Sprintf("%d-%d", c, i)}
				if i%3 == 0 {
					trail.Note(r)
					continue
				}
				if err := trail.Grant(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	together.Wait()
	if err := trail.Close(); err != nil {
		t.Fatal(err)
	}
	all := text(t, path)
	r := wantRun(t, reading(t, all), callers*each+2)
	if !r.Stopped || r.Version != "v1" {
		t.Errorf("stopped: %v, version %q", r.Stopped, r.Version)
	}
	there := map[string]int{}
	for l := range strings.Lines(all) {
		id, _ := line(t, l)["request_id"].(string)
		there[id]++
	}
	delete(there, "") // of the beginning and the end
	if len(there) != callers*each {
		t.Errorf("%d different records, want %d", len(there), callers*each)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, for its owner alone", info.Mode(), err)
	}
}

// What is granted is written first, and those who come while somebody writes share the
// next write.
func TestThoseWhoComeTogetherShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, gate := &sink{}, make(chan struct{})
		out.block(gate)
		trail := open(t, audit.Config{Out: out})
		var granted atomic.Int64
		grant := func() {
			if err := trail.Grant(audit.Record{What: audit.Token}); err != nil {
				t.Error(err)
			}
			granted.Add(1)
		}
		go grant()
		synctest.Wait()
		for range 9 {
			go grant()
		}
		synctest.Wait()
		if granted.Load() != 0 {
			t.Errorf("%d were granted before anything was written", granted.Load())
		}
		gate <- struct{}{}
		synctest.Wait()
		if granted.Load() != 1 {
			t.Errorf("%d were granted after the first write, want 1", granted.Load())
		}
		gate <- struct{}{}
		synctest.Wait()
		if granted.Load() != 10 || out.writes != 2 {
			t.Errorf("%d were granted, in %d writes; want 10 in 2", granted.Load(), out.writes)
		}
		wantRun(t, reading(t, out.String()), 10)
	})
}

func TestWhatCannotBeRecordedIsNotGranted(t *testing.T) {
	for name, row := range map[string]struct {
		vend    bool
		granted error
		waiting int // of a grant and a note
	}{
		"refuse": {false, audit.ErrUnavailable, 1},
		"vend":   {true, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var told []error
			trail := open(t, audit.Config{Path: "/dev/full", GrantUnrecorded: row.vend, Trouble: func(err error) { told = append(told, err) }})
			if err := trail.Grant(audit.Record{What: audit.Token}); !errors.Is(err, row.granted) {
				t.Errorf("a grant: %v, want %v", err, row.granted)
			}
			trail.Note(audit.Record{What: audit.Token})
			s := trail.State()
			if s.Failure == nil || s.Waiting != row.waiting || s.Written != 0 || s.Lost != 0 {
				t.Errorf("%+v, want %d waiting", s, row.waiting)
			}
			if len(told) != 1 || told[0] == nil || !strings.Contains(told[0].Error(), "no space left") {
				t.Errorf("was told %v, want once that no space is left", told)
			}
			var left *audit.UnwrittenError
			if err := trail.Close(); !errors.As(err, &left) || left.Records != uint64(row.waiting)+1 {
				t.Errorf("closed: %v, want %d unwritten", err, row.waiting+1)
			}
		})
	}
}

func TestWhatWaitsIsWrittenOnceItCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{fails: errFull}
		var told []string
		trail := open(t, audit.Config{Out: out, Trouble: func(err error) { told = append(told, fmt.Sprint(err)) }})
		go trail.Run(t.Context())
		if err := trail.Begin(); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("began: %v", err)
		}
		if err := trail.Grant(audit.Record{RequestID: "refused"}); err == nil {
			t.Error("it was granted")
		}
		for i := range 1000 { // more than goes into one write
			trail.Note(audit.Record{RequestID: fmt.Sprintf("r%d.", i), Rule: strings.Repeat("x", 200)})
		}
		<-time.After(3 * time.Second)
		if s := trail.State(); s.Waiting != 1001 || s.Failure == nil {
			t.Errorf("%+v", s)
		}
		out.fail(nil, 0)
		<-time.After(2 * time.Second) // with nobody asking
		if s := trail.State(); s.Waiting != 0 || s.Failure != nil || s.Written != 1001 {
			t.Errorf("%+v", s)
		}
		wantRun(t, reading(t, out.String()), 1001)
		if strings.Contains(out.String(), "refused") || strings.Index(out.String(), `"r1."`) > strings.Index(out.String(), `"r999."`) {
			t.Error("what was refused is there, or the order is wrong")
		}
		if want := fmt.Sprint([]string{errFull.Error(), "<nil>"}); fmt.Sprint(told) != want {
			t.Errorf("was told %v, want %v", told, want)
		}
	})
}

// A next record finds out by itself that the sink is back.
func TestTheNextRecordIsEnough(t *testing.T) {
	out := &sink{fails: errFull}
	trail := open(t, audit.Config{Out: out})
	trail.Note(audit.Record{RequestID: "first"})
	out.fail(nil, 0)
	if err := trail.Grant(audit.Record{RequestID: "second"}); err != nil {
		t.Error(err)
	}
	wantRun(t, reading(t, out.String()), 2)
}

func TestWhatIsLostIsTold(t *testing.T) {
	const more, most = 7, audit.MaxWaiting - audit.ForChanges
	out := &sink{fails: errFull}
	trail := open(t, audit.Config{Out: out})
	for i := range most + more {
		trail.Note(audit.Record{RequestID: fmt.Sprintf("r%d.", i)})
	}
	if s := trail.State(); s.Lost != more || s.Waiting != most {
		t.Errorf("%+v, want %d lost", s, more)
	}
	out.fail(nil, 0)
	trail.Note(audit.Record{RequestID: "after"})
	r := wantRun(t, reading(t, out.String()), most+2)
	if r.Lost != more {
		t.Errorf("the records say that %d were lost, want %d", r.Lost, more)
	}
	trail.Note(audit.Record{})
	if r := wantRun(t, reading(t, out.String()), most+3); r.Lost != more {
		t.Errorf("it is told twice: %d", r.Lost)
	}
}

// However many tokens are refused meanwhile: who took somebody's access away is not lost.
func TestThereIsRoomForChanges(t *testing.T) {
	out := &sink{fails: errFull}
	trail := open(t, audit.Config{Out: out})
	for range audit.MaxWaiting {
		trail.Note(audit.Record{What: audit.Token, Outcome: "bearer_invalid"})
	}
	for i := range audit.ForChanges {
		trail.Note(audit.Record{What: audit.Admin, RequestID: fmt.Sprintf("r%d.", i)})
	}
	if s := trail.State(); s.Lost != audit.ForChanges || s.Waiting != audit.MaxWaiting {
		t.Errorf("%+v, want %d refusals lost and nothing else", s, audit.ForChanges)
	}
	trail.Note(audit.Record{What: audit.Admin})
	if s := trail.State(); s.Lost != audit.ForChanges+1 || s.Waiting != audit.MaxWaiting {
		t.Errorf("%+v, want room for no more than %d", s, audit.MaxWaiting)
	}
	out.fail(nil, 0)
	trail.Note(audit.Record{})
	wantRun(t, reading(t, out.String()), audit.MaxWaiting+2)
	if text := out.String(); strings.Count(text, `"what":"admin"`) != audit.ForChanges {
		t.Errorf("%d changes are recorded, want %d", strings.Count(text, `"what":"admin"`), audit.ForChanges)
	}
}

// On what cannot be shortened, the rest of a line is ended before the next is written.
func TestATornLineSpoilsNoOther(t *testing.T) {
	out := &sink{fails: errFull, room: 450} // two lines and a piece
	trail := open(t, audit.Config{Out: out, GrantUnrecorded: true})
	for range 5 {
		_ = trail.Grant(audit.Record{What: audit.Token, Rule: strings.Repeat("x", 100)})
	}
	if s := trail.State(); s.Written != 2 || s.Waiting != 3 {
		t.Fatalf("%+v, want 2 written and 3 waiting", s)
	}
	out.fail(nil, 0)
	trail.Note(audit.Record{})
	g := reading(t, out.String())
	wantRun(t, g, 6)
	if g.Torn != 1 {
		t.Errorf("%d torn lines, want 1", g.Torn)
	}
}

// A write that does not come to its end holds up nobody for long, nor the one for whom it
// was begun.
func TestNobodyWaitsForAStuckWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, gate := &sink{}, make(chan struct{})
		out.block(gate)
		trail := open(t, audit.Config{Out: out})
		go trail.Run(t.Context())
		began := time.Now()
		var refused atomic.Int64
		grant := func() {
			if err := trail.Grant(audit.Record{RequestID: "granted"}); errors.Is(err, audit.ErrUnavailable) {
				refused.Add(1)
			}
		}
		go grant() // begins the write
		synctest.Wait()
		for range 5 {
			go grant()
			go trail.Note(audit.Record{RequestID: "noted"})
		}
		<-time.After(10 * time.Second)
		if refused.Load() != 6 || trail.State().Waiting != 5 || trail.State().Failure == nil {
			t.Errorf("%d refused, %+v", refused.Load(), trail.State())
		}
		grant()
		if refused.Load() != 7 || time.Since(began) != 10*time.Second {
			t.Errorf("somebody waited who comes later: %v", time.Since(began))
		}
		close(gate)
		<-time.After(2 * time.Second)
		if s := trail.State(); s.Waiting != 0 || s.Failure != nil {
			t.Errorf("%+v", s)
		}
		wantRun(t, reading(t, out.String()), 6)
		if n := strings.Count(out.String(), "granted"); n != 1 { // which was being written when it was refused
			t.Errorf("%d grants are there, want 1", n)
		}
		if err := trail.Grant(audit.Record{}); err != nil {
			t.Error(err)
		}
	})
}

// A run that cannot end its last write ends all the same.
func TestAStuckWriteDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, gate := &sink{}, make(chan struct{})
		defer close(gate)
		out.block(gate)
		trail := open(t, audit.Config{Out: out})
		go trail.Run(t.Context())
		go trail.Note(audit.Record{})
		<-time.After(5 * time.Second)
		var left *audit.UnwrittenError
		if err := trail.Close(); !errors.As(err, &left) || left.Records != 2 { // the last one too
			t.Errorf("closed: %v", err)
		}
	})
}

// Nor does one that is the last, when nobody but whoever ends the run is there to notice.
func TestTheLastWriteMayBeTheOneThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, gate := &sink{}, make(chan struct{})
		defer close(gate)
		trail := open(t, audit.Config{Out: out})
		out.block(gate)
		ended := make(chan error, 1)
		go func() { ended <- trail.Close(audit.Record{What: audit.Admin}) }()
		<-time.After(5 * time.Second)
		select {
		case err := <-ended:
			var left *audit.UnwrittenError
			if !errors.As(err, &left) || left.Records != 2 { // what was to be last, and that it is over
				t.Errorf("closed: %v", err)
			}
		default:
			t.Error("the end is held up")
		}
	})
}

// The first record, and the look after the file, may be what is stuck: the service begins,
// others are refused in good time, and those who come later at once.
func TestWhoeverTendsIsNotHeldUpByAStuckWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, gate := &sink{}, make(chan struct{})
		trail := open(t, audit.Config{Out: out})
		out.block(gate)
		began := make(chan error, 1)
		go func() { began <- trail.Begin() }()
		<-time.After(5 * time.Second)
		select {
		case err := <-began:
			if !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("began: %v", err)
			}
		default:
			t.Error("the beginning is held up")
		}
		close(gate)
		synctest.Wait()

		out.block(nil)
		out.fail(errFull, 0)
		trail.Note(audit.Record{RequestID: "waits"})
		out.fail(nil, 0)
		gate = make(chan struct{})
		out.block(gate)
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { trail.Run(ctx); close(stopped) }()
		<-time.After(1500 * time.Millisecond) // it tries again what waits, and is stuck
		refused := make(chan error, 1)
		go func() { refused <- trail.Grant(audit.Record{}) }()
		<-time.After(5 * time.Second)
		stop()
		synctest.Wait()
		select {
		case err := <-refused:
			if !errors.Is(err, audit.ErrUnavailable) || trail.State().Failure == nil {
				t.Errorf("%v, %+v", err, trail.State())
			}
		default:
			t.Error("a grant waits for a write that nobody looks after")
		}
		select {
		case <-stopped:
		default:
			t.Error("Run does not end")
		}
		close(gate)
		synctest.Wait()
		if !strings.Contains(out.String(), "waits") {
			t.Error("what waited is not there")
		}
	})
}

func TestNonsenseIsRefused(t *testing.T) {
	folder := t.TempDir()
	for name, cfg := range map[string]audit.Config{
		"nothing":          {},
		"both":             {Path: filepath.Join(folder, "a"), Out: io.Discard},
		"a folder":         {Path: folder},
		"no folder":        {Path: filepath.Join(folder, "none", "a")},
		"nobody reads it":  {Path: pipe(t)},
		"is in a file":     {Path: filepath.Join(os.Args[0], "a")},
		"a name too long":  {Path: filepath.Join(folder, strings.Repeat("a", 300))},
		"through no where": {Path: "\x00"},
	} {
		if _, err := audit.Open(cfg); err == nil {
			t.Errorf("%s: is accepted", name)
		} else if strings.Contains(err.Error(), folder) {
			t.Errorf("%s: %v names the path", name, err)
		}
	}
}

// line decodes the first line.
func line(t *testing.T, out string) map[string]any {
	t.Helper()
	var m map[string]any
	first, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(first), &m); err != nil {
		t.Fatalf("%v: %q", err, first)
	}
	return m
}
