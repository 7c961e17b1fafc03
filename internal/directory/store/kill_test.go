package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// childID is nobody's in other processes either.
func childID() telnyx.CredentialID {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	id, err := telnyx.ParseCredentialID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
	if err != nil {
		panic(err)
	}
	return id
}

// writing is a child that writes.
type writing struct {
	cmd   *exec.Cmd
	began chan struct{} // closed when it has done something
	ended sync.WaitGroup
	acked []string // when it has ended
}

func startWriting(t *testing.T, b *books, round int) *writing {
	t.Helper()
	w := &writing{began: make(chan struct{})}
	cmd, lines := startChild(t, b, "write", round)
	w.cmd = cmd
	w.ended.Go(func() {
		var first sync.Once
		for lines.Scan() {
			w.acked = append(w.acked, lines.Text())
			first.Do(func() { close(w.began) })
		}
	})
	select {
	case <-w.began:
	case <-time.After(20 * time.Second):
		t.Fatal("it writes nothing")
	}
	return w
}

// kill ends it at once, and returns what it had said was done.
func (w *writing) kill(t *testing.T) []string {
	t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.ended.Wait()
	if err := w.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("it was not killed: %v", err)
	}
	return w.acked
}

// holds checks that the books hold all of that.
func (b *books) holds(t *testing.T, acked []string) {
	t.Helper()
	rows, err := b.raw(t).QueryContext(t.Context(), `SELECT action || ' ' || user_key || ' ' || credential_id FROM events`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	there := make(map[string]bool)
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		there[line] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, line := range acked {
		if !there[line] {
			t.Errorf("was acknowledged and is not there: %s", line)
		}
	}
	b.consistent(t)
}

// awhile is some moment of what goes on.
func awhile(t *testing.T, most time.Duration) {
	t.Helper()
	select {
	case <-time.After(mathrand.N(most)):
	case <-t.Context().Done():
	}
}

func TestAProcessIsKilledWhileItWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		var acked []string
		for round := range 15 {
			w := startWriting(t, b, round)
			awhile(t, 250*time.Millisecond)
			acked = append(acked, w.kill(t)...)
			b.holds(t, acked)
		}
		t.Logf("%d changes were acknowledged", len(acked))
		must2[store.User, bool](t)(b.open(t).PutUser(t.Context(), by, "main:alice", "", store.Match{})) // nobody is locked out
	})
}

func TestADatabaseIsKilledWhileItIsWrittenTo(t *testing.T) {
	server := pgtest.StartT(t)
	b := postgresBooks(t, server)
	s := b.open(t)
	w := startWriting(t, b, 0)
	for round := range 6 {
		awhile(t, 300*time.Millisecond)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "it works again", func(ctx context.Context) error {
			_, _, err := s.PutUser(ctx, by, fmt.Sprint("main:after", round), "", store.Match{})
			return err
		})
		b.consistent(t)
	}
	acked := w.kill(t)
	t.Logf("%d changes were acknowledged", len(acked))
	b.holds(t, acked)
}
