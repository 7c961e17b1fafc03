package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// followed is a file that is read again when it changes.
type followed struct {
	what string // in the log and in the metric: "users file", "API key", "rules"
	path string
	read func() outcome

	seen    os.FileInfo // before it was last read; nil if there was none
	refused string      // why what it says is not in force, or ""
	waiting string      // the keys that were last said to wait for a restart
}

// outcome is what came of reading a file again.
type outcome struct {
	changed bool     // what is in force is new
	refused error    // why what was read before stays
	waiting []string // keys whose values in the file take a restart
}

func (s *service) follow(what, path string, read func() outcome) {
	s.followed = append(s.followed, &followed{what: what, path: path, read: read})
}

// settle is how long files must be quiet before they are read: most writers are
// done by then. settleAtMost is for directories that never are.
const (
	settle       = 500 * time.Millisecond
	settleAtMost = 2 * time.Second
)

// lookEvery is how often each file is looked at. Events do not tell of
// everything: not of the target of a link, of a directory put in another's
// place, of a file mounted by itself, nor of what another machine writes.
const lookEvery = 5 * time.Second

// keepReloading reads files again when they change and at a hangup, until ctx is
// done.
func (s *service) keepReloading(ctx context.Context) {
	events, failures, stop := s.watch()
	defer stop()
	s.readAllAgain(false) // they may have changed before they were watched
	look := time.NewTicker(lookEvery)
	defer look.Stop()

	var due <-chan time.Time
	var deadline time.Time
	asked := false
	for {
		soon := false
		select {
		case <-ctx.Done():
			return
		case <-s.hangup:
			s.log.Info().Msg(s.onHangup())
			s.trail.Reopen()
			soon, asked = true, true
		case err := <-failures: // events were lost
			s.log.Warn().Err(err).Msg("watching files")
			soon = true
		case <-events:
			soon = true
		case <-look.C:
			soon = slices.ContainsFunc(s.followed, (*followed).looksChanged)
		case <-due:
			s.readAllAgain(asked)
			due, asked = nil, false
		}
		if soon {
			if due == nil {
				deadline = time.Now().Add(settleAtMost)
			}
			due = time.After(min(settle, time.Until(deadline)))
		}
	}
}

func (s *service) onHangup() string {
	if len(s.followed) == 0 {
		return "there is nothing to read again: no file is in use"
	}
	return "reading files again, as told"
}

// watch watches directories, not files, because editors and Kubernetes replace a
// file, and a watch on what was replaced sees nothing more. Where that cannot be
// done it says so, and looking remains.
func (s *service) watch() (events <-chan fsnotify.Event, failures <-chan error, stop func()) {
	if len(s.followed) == 0 {
		return nil, nil, func() {}
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn().Err(err).Dur("every_ms", lookEvery).Msg("files are not watched, only looked at")
		return nil, nil, func() {}
	}
	var directories []string
	for _, f := range s.followed {
		directories = append(directories, filepath.Dir(f.path))
	}
	slices.Sort(directories)
	for _, d := range slices.Compact(directories) {
		if err := watcher.Add(d); err != nil {
			s.log.Warn().Err(err).Str("directory", d).Dur("every_ms", lookEvery).Msg("files in it are not watched, only looked at")
		}
	}
	return watcher.Events, watcher.Errors, func() { _ = watcher.Close() }
}

// looksChanged reports whether the file is another than when it was last read,
// links followed.
func (f *followed) looksChanged() bool {
	now, before := stat(f.path), f.seen
	if now == nil || before == nil {
		return now != before
	}
	return !os.SameFile(now, before) || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime())
}

// stat returns nil if there is nothing to see, for whatever reason.
func stat(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

func (s *service) readAllAgain(asked bool) {
	for _, f := range s.followed {
		f.seen = stat(f.path)
		s.tell(f, f.readGuarded(), asked)
	}
}

// readGuarded reads the file: one that meets a bug in a parser is refused.
func (f *followed) readGuarded() (o outcome) {
	var bug error
	defer func() {
		if bug != nil {
			o = outcome{refused: bug}
		}
	}()
	defer crash.Into(&bug)
	return f.read()
}

// tell logs what is new about a file, and all there is to say if somebody asked:
// a file that stays broken is not complained of at every event beside it.
func (s *service) tell(f *followed, o outcome, asked bool) {
	log := s.log.With().Str("file", f.path).Logger()
	refused, waiting := "", strings.Join(o.waiting, ", ")
	if o.refused != nil {
		refused, waiting = o.refused.Error(), f.waiting
	}
	switch news := asked || refused != f.refused; {
	case refused != "" && news:
		log.Error().Err(o.refused).Msg(f.what + " not taken up; what was read before stays")
	case refused != "":
	case o.changed || f.refused != "":
		log.Info().Msg(f.what + " read again")
	case asked:
		log.Info().Msg(f.what + " unchanged")
	}
	if refused == "" && waiting != "" && (asked || waiting != f.waiting) {
		log.Warn().Str("keys", waiting).Msg("other keys differ from what runs; they take a restart")
	}
	f.refused, f.waiting = refused, waiting
	s.observer.file(f.what, refused == "")
}

// secretFile is a secret and the file it came from, if any.
type secretFile struct {
	path string
	read readSecret
	text atomic.Pointer[secret.Text]
	// dated is when the file was changed that has this secret, by its own date;
	// nil if there is no file.
	dated atomic.Pointer[time.Time]
}

func newSecretFile(path string, read readSecret, text secret.Text) *secretFile {
	f := &secretFile{path: path, read: read}
	f.text.Store(&text)
	f.date()
	return f
}

// date notes down how old the file is that was read.
func (f *secretFile) date() {
	if info := stat(f.path); info != nil {
		changed := info.ModTime()
		f.dated.Store(&changed)
	}
}

// openSecretFile reads the file. With an error, the secret is empty.
func openSecretFile(path string, read readSecret) (*secretFile, error) {
	text, err := read(path)
	return newSecretFile(path, read, text), err
}

// Text returns the secret as it is now.
func (f *secretFile) Text() secret.Text { return *f.text.Load() }

// readAgain reads the file again.
func (f *secretFile) readAgain() outcome {
	next, err := f.read(f.path)
	if err != nil || next.Reveal() == f.Text().Reveal() {
		return outcome{refused: err}
	}
	f.text.Store(&next)
	f.date()
	return outcome{changed: true}
}

// outcomeOf is the outcome of what reads a file again itself. The log names the
// file, so the error need not.
func outcomeOf(changed bool, err error) outcome {
	if open := (*fs.PathError)(nil); errors.As(err, &open) {
		err = withoutPath(err)
	}
	return outcome{changed: changed, refused: err}
}
