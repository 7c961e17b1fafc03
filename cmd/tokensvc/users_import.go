package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func declareImport(u *usersRun, flags *flag.FlagSet) {
	flags.StringVar(&u.format, "format", "", "csv or ndjson (default by the file's name: .csv, .ndjson or .jsonl)")
	flags.BoolVar(&u.dryRun, "dry-run", false, "change nothing, and say what would come of it")
	flags.BoolVar(&u.atomic, "atomic", false, "change nothing unless every line is in order")
}

func declareExport(u *usersRun, flags *flag.FlagSet) {
	flags.StringVar(&u.format, "format", "", "csv or ndjson (default csv, and with -json ndjson)")
}

// formatOf reads -format, or tells the format by the file's name.
func (u *usersRun) formatOf(file string) (roster.Format, error) {
	switch u.format {
	case "csv":
		return roster.CSV, nil
	case "ndjson":
		return roster.NDJSON, nil
	case "":
		if f, ok := roster.FormatOf(file); ok {
			return f, nil
		}
	}
	return 0, misused("-format must be csv or ndjson; without it, the file must be named .csv, .ndjson or .jsonl")
}

func importUsers(ctx context.Context, u *usersRun) error {
	format, err := u.formatOf(u.args[0])
	if err != nil {
		return err
	}
	from, name, size, err := u.source()
	if err != nil {
		return err
	}
	defer from.Close()
	bar := u.progress(size)
	said := 0
	list := newcomers{from: io.TeeReader(from, bar), format: format, dryRun: u.dryRun, atomic: u.atomic}
	list.again = func() (io.Reader, error) {
		bar.Reset()
		_, err := from.Seek(0, io.SeekStart)
		return io.TeeReader(from, bar), err
	}
	list.wrong = func(line int, text string) {
		if said++; said <= roster.MaxProblems {
			_ = bar.Clear() // is drawn again by itself
			u.wrong(name, line, text)
		}
	}
	count, err := u.books.take(ctx, list)
	_ = bar.Clear()
	if more := count.Failed - min(said, roster.MaxProblems); more > 0 { // a service does not tell of all
		say(u.t.err, "%s: and %s more\n", name, counted(more, "line"))
	}
	if header, ok := errors.AsType[*roster.HeaderError](err); ok { // nothing came of it
		u.wrong(name, header.Line, header.Problem())
		return errSaid
	}
	u.summarize(count, err != nil)
	if err == nil && count.Failed > 0 {
		return errSaid
	}
	return err
}

// A source is where a list is read from. One that is taken as a whole can be read
// again; of others, Seek may fail.
type source interface {
	io.ReadSeeker
	io.Closer
}

// stream is a source that is read once.
type stream struct{ io.Reader }

func (stream) Seek(int64, int) (int64, error) { return 0, errors.ErrUnsupported }
func (stream) Close() error                   { return nil }

// source opens the file, and says how it is called and how long it is, -1 if
// nobody knows. What is to be taken as a whole is read to its end before anybody is
// kept from the books for it.
func (u *usersRun) source() (from source, name string, size int64, err error) {
	if u.args[0] == "-" {
		from, size, err = u.onceRead(stream{u.t.in})
		return from, "stdin", size, err
	}
	file, err := os.Open(u.args[0])
	if err != nil {
		return nil, "", 0, err
	}
	name = filepath.Base(u.args[0])
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		return file, name, info.Size(), nil
	}
	from, size, err = u.onceRead(file)
	return from, name, size, err
}

// onceRead returns a source that can be read once as one that serves the command,
// and how long it is.
func (u *usersRun) onceRead(from source) (source, int64, error) {
	if !u.atomic || u.dryRun {
		return from, -1, nil
	}
	file, err := spool(from, maxSpool)
	if err := errors.Join(err, from.Close()); err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// progress shows how much is read, to somebody who looks at a terminal.
func (u *usersRun) progress(size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(u.t.err),
		progressbar.OptionSetVisibility(isTerminal(u.t.err)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription("importing"),
	)
}

// wrong says what is wrong with a line.
func (u *usersRun) wrong(file string, line int, text string) {
	if u.json {
		u.sayJSON(struct {
			Line  int    `json:"line"`
			Error string `json:"error"`
		}{line, text})
		return
	}
	say(u.t.err, "%s:%d: %s\n", oneLine(file), line, oneLine(text))
}

// summarize says what became of the list, of which a part is not known if it broke
// off.
func (u *usersRun) summarize(count tally, brokeOff bool) {
	if u.json {
		u.sayJSON(count)
		return
	}
	fate := ""
	switch {
	case count.DryRun:
		fate = "; nothing was changed (-dry-run)"
	case brokeOff && !u.atomic:
		fate = " so far, and perhaps some more: import the list again"
	case u.atomic && count.Failed > 0:
		fate = "; nothing was changed (-atomic)"
	}
	say(u.t.out, "%d created, %d updated, %d unchanged, %d failed%s\n", count.Created, count.Updated, count.Unchanged, count.Failed, fate)
}

func exportUsers(ctx context.Context, u *usersRun) error {
	format, err := u.exportFormat()
	if err != nil {
		return err
	}
	w := roster.NewWriter(u.t.out, format)
	err = u.eachPage(ctx, func(page []handler.UserAnswer, _ bool) error {
		for _, user := range page {
			person, err := listed(user)
			if err == nil {
				err = w.Write(person)
			}
			if err != nil {
				return err
			}
		}
		return w.Flush()
	})
	return err
}

// exportFormat is -format, or what goes with -json.
func (u *usersRun) exportFormat() (roster.Format, error) {
	switch {
	case u.json && u.format == "csv":
		return 0, misused("either -json or -format csv")
	case u.json && u.format == "":
		return roster.NDJSON, nil
	case u.format == "":
		return roster.CSV, nil
	}
	return u.formatOf("")
}

// errUnlisted says that a list would have in it what no list may have, and a
// terminal might obey. The directory has no such value: somebody else answers.
var errUnlisted = errors.New("has a value that no directory has: is that the service?")

func isPrintable(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// listed is a user as a list has it.
func listed(u handler.UserAnswer) (store.User, error) {
	if !isPrintable(u.User) || !store.IsName(u.Name) {
		return store.User{}, fmt.Errorf("%s: %w", u.User, errUnlisted)
	}
	user := store.User{Key: u.User, Name: u.Name}
	if u.Disabled {
		user.DisabledAt = time.Unix(1, 0) // whenever it was
	}
	for _, d := range u.Devices {
		id, err := telnyx.ParseCredentialID(d.Credential)
		device, failed := deviceOr(string(d.Device), "")
		if !store.IsSIPUsername(d.SIPUsername) {
			err = errUnlisted
		}
		if err := errors.Join(err, failed); err != nil {
			return store.User{}, fmt.Errorf("%s: %w", u.User, err)
		}
		user.Credentials = append(user.Credentials, store.Credential{ID: id, Device: device, SIPUsername: d.SIPUsername})
	}
	return user, nil
}
