package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A child is the test binary once more, as a process that can be killed.
const (
	childEnv = "TOKENSVC_STORE_CHILD" // what it does: write or lock
	booksEnv = "TOKENSVC_STORE_BOOKS" // the path or the URL
	roundEnv = "TOKENSVC_STORE_ROUND" // so that what each does can be told apart
)

// startChild starts one, and returns what it says, line by line.
func startChild(t *testing.T, b *books, does string, round int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), childEnv+"="+does, booksEnv+"="+b.cfg.SQLite+b.cfg.Postgres, fmt.Sprint(roundEnv, "=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func child() int {
	does := map[string]func(address string) error{"write": childWrites, "lock": childLocks}[os.Getenv(childEnv)]
	if err := does(os.Getenv(booksEnv)); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

// childLocks locks the file until it is killed.
func childLocks(path string) error {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return err
	}
	connection, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := connection.ExecContext(ctx, `BEGIN EXCLUSIVE`); err != nil {
		return err
	}
	acknowledge("locked")
	select {}
}

var stdout sync.Mutex

func acknowledge(line string) {
	stdout.Lock()
	defer stdout.Unlock()
	fmt.Fprintln(os.Stdout, line)
}

// childWrites changes the books until it is killed, and says what was done. What
// fails it does not say, and goes on.
func childWrites(address string) error {
	cfg := store.Config{SQLite: address}
	if strings.HasPrefix(address, "postgres:") {
		cfg = store.Config{Postgres: address}
	}
	s, err := store.Open(cfg)
	if err != nil {
		return err
	}
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				childLife(s, fmt.Sprintf("main:r%s.%d.%d", os.Getenv(roundEnv), n, i))
			}
		})
	}
	writers.Wait()
	return nil
}

// childLife is what may happen to a user.
func childLife(s *store.Store, user string) {
	ctx := context.Background()
	limits := store.Limits{CreateUsers: true, MaxDevices: 2, Replace: true}
	for n, device := range []directory.Device{"a", "b", "c"} {
		i := intent(user, device, "child")
		if _, err := s.Begin(ctx, i, limits, hold); err != nil {
			continue
		}
		has, err := s.Record(ctx, by, i, store.Made{ID: childID()}, limits)
		if err != nil {
			continue
		}
		acknowledge(fmt.Sprintf("%s %s %s", store.CredentialCreated, user, has.ID))
		if n == 1 {
			s.Vended(has.ID, has.CreatedAt)
			_ = store.FlushVended(ctx, s)
		}
	}
	claimed, err := s.ClaimDeletions(ctx, 1, hold)
	if err == nil && len(claimed) == 1 && s.Deleted(ctx, by, claimed[0].ID, "") == nil {
		acknowledge(fmt.Sprintf("%s %s %s", store.CredentialDeleted, claimed[0].User, claimed[0].ID))
	}
	if _, err := s.Disable(ctx, by, user, store.Match{}); err == nil {
		acknowledge(fmt.Sprintf("%s %s ", store.UserDisabled, user))
	}
	if _, err := s.Enable(ctx, by, user, store.Match{}); err == nil {
		acknowledge(fmt.Sprintf("%s %s ", store.UserEnabled, user))
	}
}
