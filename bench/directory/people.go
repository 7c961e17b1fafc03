package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// issuer is the name of the only one.
const issuer = "main"

// keyOf spreads people over the keys, as subjects of an issuer are.
func keyOf(n int) string { return fmt.Sprintf("%08x-user-%d", uint32(n)*2654435761, n) } //nolint:gosec // wraps around, and may

// writePeople writes a list of people with a name and a credential each.
func writePeople(path string, people int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "user,name,device,credential_id,sip_username")
	for n := range people {
		fmt.Fprintf(w, "%s,Person %d,desk,%08x-0000-4000-8000-%012x,gencred%d\n", keyOf(n), n, uint32(n)*2654435761, n, n)
	}
	return errors.Join(w.Flush(), file.Close())
}

// busy is how long processors have worked for this process, the kernel included.
func busy() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // of oneself it can be asked
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// fill imports the list into an empty database.
func (b *bench) fill(ctx context.Context, cfg store.Config, list string) (took time.Duration, err error) {
	s, err := store.Open(cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, _, err := s.Migrate(ctx); err != nil {
		return 0, err
	}
	file, err := os.Open(list)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	began := time.Now()
	var wrong error
	count, err := roster.Import(ctx, s, store.By{Actor: "bench"}, store.ImportEach, roster.NewReader(file, roster.CSV, []string{issuer}),
		func(line int, text string) { wrong = fmt.Errorf("line %d: %s", line, text) })
	took = time.Since(began)
	if err == nil && wrong == nil && count.Updated+count.Unchanged > 0 {
		wrong = fmt.Errorf("the database was not empty: %+v", count)
	}
	return took, errors.Join(err, wrong)
}
