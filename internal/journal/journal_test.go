package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/journal"
)

const info, warn = zerolog.InfoLevel, zerolog.WarnLevel

// out notes each write.
type out struct {
	mu     sync.Mutex
	writes []string
	fail   error
}

func (o *out) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = append(o.writes, string(p))
	return len(p), o.fail
}

func (o *out) want(t *testing.T, writes ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if got, want := fmt.Sprintf("%q", o.writes), fmt.Sprintf("%q", writes); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
}

func TestWhenALineIsWritten(t *testing.T) {
	type writer = *journal.Writer
	line := func(w writer, level zerolog.Level, text string) { _, _ = w.WriteLevel(level, []byte(text)) }
	wait := func(d time.Duration) { <-time.After(d); synctest.Wait() }
	for name, row := range map[string]struct {
		do   func(w writer)
		want []string
	}{
		"one alone, at once":             {func(w writer) { line(w, info, "a") }, []string{"a"}},
		"the second of two, not at once": {func(w writer) { line(w, info, "a"); line(w, info, "b") }, []string{"a"}},
		"many, together": {func(w writer) {
			for _, text := range []string{"a", "b", "c"} {
				line(w, info, text)
			}
			wait(10 * time.Millisecond)
		}, []string{"a", "bc"}},
		"while there are many, one write in a pause": {func(w writer) {
			for range 6 {
				line(w, info, "x")
				wait(4 * time.Millisecond) // written at 0, and what came by 10 and by 20
			}
		}, []string{"x", "xx", "xx"}},
		"after a pause without any, at once": {func(w writer) {
			line(w, info, "a")
			line(w, info, "b")
			wait(20 * time.Millisecond)
			line(w, info, "c")
		}, []string{"a", "b", "c"}},
		"a warning, at once and after what waits": {func(w writer) {
			line(w, info, "a")
			line(w, info, "b")
			line(w, warn, "c")
		}, []string{"a", "bc"}},
		"one of no level, at once": {func(w writer) { line(w, info, "a"); _, _ = w.Write([]byte("b")) }, []string{"a", "b"}},
		"the last, at the end":     {func(w writer) { line(w, info, "a"); line(w, info, "b"); _ = w.Close() }, []string{"a", "b"}},
		"after the end, at once": {func(w writer) {
			_ = w.Close()
			line(w, info, "a")
			line(w, info, "b")
		}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &out{}
				w := journal.New(o)
				wait(time.Second) // long after the beginning
				row.do(w)
				o.want(t, row.want...)
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &out{}
		w := journal.New(o)
		defer w.Close()
		<-time.After(time.Second) // long after the beginning
		line, long := strings.Repeat("x", 1000)+"\n", strings.Repeat("y", 300<<10)+"\n"
		for range 300 { // of which no time passes
			_, _ = w.WriteLevel(info, []byte(line))
		}
		_, _ = w.WriteLevel(info, []byte(long)) // more than may wait at all
		// The first at once, then as many as may wait, then the rest before the long one.
		o.want(t, line, strings.Repeat(line, 261), strings.Repeat(line, 38), long)
	})
}

func TestALogThatCannotBeWrittenIsSaidSo(t *testing.T) {
	full := errors.New("no space left")
	w := journal.New(&out{fail: full})
	if _, err := w.WriteLevel(warn, []byte("x")); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

// TestNoLineIsLostOrTorn has many write through a pipe that is read slowly at first.
func TestNoLineIsLostOrTorn(t *testing.T) {
	const writers, each = 16, 2000
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := journal.New(pipe)
	log := zerolog.New(w)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				e := log.Info()
				if n%500 == 0 {
					e = log.Warn()
				}
				e.Int("writer", i).Int("n", n).Str("pad", strings.Repeat("p", n%97)).Send()
			}
		})
	}
	go func() { all.Wait(); _ = w.Close(); _ = pipe.Close() }()
	<-time.After(300 * time.Millisecond) // until the pipe is full, and then a page
	read, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	next := make(map[int]int)
	for line := range strings.Lines(string(read)) {
		var got struct {
			Writer, N int
			Pad       string
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("torn: %q: %v", line, err)
		}
		i, n := got.Writer, got.N
		if next[i] != n {
			t.Fatalf("writer %d's line %d comes where %d should", i, n, next[i])
		}
		next[i]++
	}
	for i := range writers {
		if next[i] != each {
			t.Errorf("writer %d: %d lines, want %d", i, next[i], each)
		}
	}
}

// BenchmarkLine is a line into a file, one write(2) each and through a Writer, by
// as many as there are processors.
func BenchmarkLine(b *testing.B) {
	line := []byte(strings.Repeat("x", 349) + "\n")
	for _, through := range []bool{false, true} {
		b.Run(fmt.Sprintf("collected=%v", through), func(b *testing.B) {
			file, err := os.CreateTemp(b.TempDir(), "log")
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			w := journal.New(file)
			defer w.Close()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if through {
						_, _ = w.WriteLevel(info, line)
					} else {
						_, _ = file.Write(line)
					}
				}
			})
		})
	}
}
