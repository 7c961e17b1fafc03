package journal_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/journal"
)

// pipe is out that takes nothing until it is read.
type pipe struct {
	out
	read chan struct{}
}

func (p *pipe) Write(b []byte) (int, error) {
	<-p.read
	return p.out.Write(b)
}

// Whoever reads the log and stops holds up for a second what is being written, and then
// nobody. What there was room for is written when it is read again, and how much there was not.
func TestALogThatNobodyReadsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{read: make(chan struct{})}
		w := journal.New(p)
		<-time.After(time.Second) // long after the beginning
		took := func(what string, want time.Duration, do func()) {
			t.Helper()
			began := time.Now()
			do()
			if got := time.Since(began); got != want {
				t.Errorf("%s takes %v, want %v", what, got, want)
			}
		}
		line, long := strings.Repeat("x", 1000)+"\n", strings.Repeat("y", 300<<10)+"\n"
		write := func(text string) func() {
			return func() {
				if n, err := w.WriteLevel(warn, []byte(text)); n != len(text) || err != nil {
					t.Errorf("%d of %d bytes, %v", n, len(text), err)
				}
			}
		}
		took("the first line", time.Second, write("first\n"))
		for range 300 { // of which a page holds 261
			took("another", 0, write(line))
		}
		took("a long one", 0, write(long))
		took("the end", 0, func() { _ = w.Close() })

		close(p.read)
		synctest.Wait()
		write("last\n")()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.writes) != 4 || p.writes[0] != "first\n" || p.writes[1] != strings.Repeat(line, 261) || p.writes[3] != "last\n" {
			t.Fatalf("%d writes, want the first line, those that waited, what was lost, and the last", len(p.writes))
		}
		for _, want := range []string{`"level":"warn"`, fmt.Sprintf(`"lines":%d`, 300-261+1), `"time":`} {
			if !strings.Contains(p.writes[2], want) {
				t.Errorf("of what was lost it says %s, want %s", p.writes[2], want)
			}
		}
	})
}

// Who reads a little and stops again holds up nobody either.
func TestALogThatIsReadNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{read: make(chan struct{})}
		w := journal.New(p)
		<-time.After(time.Second)
		line := []byte(strings.Repeat("x", 1000) + "\n")
		if _, err := w.WriteLevel(warn, line); err != nil { // which is waited for
			t.Error(err)
		}
		_, _ = w.WriteLevel(warn, line)
		for range 3 {
			p.read <- struct{}{}
			<-time.After(2 * time.Second)
			began := time.Now()
			for range 300 {
				_, _ = w.WriteLevel(warn, line)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("300 lines take %v", took)
			}
		}
		close(p.read)
		_ = w.Close()
		synctest.Wait()
		text := strings.Join(p.writes, "")
		kept, lost := strings.Count(text, string(line)), 0
		for part := range strings.SplitSeq(text, `"lines":`) {
			var n int
			if _, err := fmt.Sscanf(part, "%d", &n); err == nil {
				lost += n
			}
		}
		if kept+lost != 2+3*300 {
			t.Errorf("%d lines are kept and %d told to be lost, want %d in all", kept, lost, 2+3*300)
		}
	})
}

// A line that is too long for a page is its caller's own again when the call is over,
// though it may be written later.
func TestALateLineIsTheOneThatWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{read: make(chan struct{})}
		w := journal.New(p)
		long := []byte(strings.Repeat("y", 300<<10) + "\n")
		want := string(long)
		_, _ = w.Write(long)
		clear(long)
		close(p.read)
		synctest.Wait()
		if got := strings.Join(p.writes, ""); got != want {
			t.Errorf("written are %d bytes, of which %d are as they were given", len(got), strings.Count(got, "y"))
		}
		_ = w.Close()
	})
}
