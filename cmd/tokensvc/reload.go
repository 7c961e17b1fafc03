package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// reload is a file that is read again when it changes. again reports whether it
// had; on an error what was read before stays.
type reload struct {
	what  string
	path  string
	again func() (changed bool, err error)
}

// settle is how long a directory must be quiet before its files are read: most
// writers are done by then. settleAtMost is for directories that never are.
const (
	settle       = 100 * time.Millisecond
	settleAtMost = time.Second
)

// keepReloading reads files again when they change and at SIGHUP, until ctx is
// done. It watches directories, not files, because editors and Kubernetes
// replace a file, and a watch on what was replaced sees nothing more.
func (s *service) keepReloading(ctx context.Context) {
	if len(s.reloads) == 0 {
		return // and a hangup ends the process, as its terminal expects
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	events, failures, stop := s.watch()
	defer stop()

	var due <-chan time.Time
	var deadline time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			s.log.Info().Msg("reading files again, as told")
			s.reloadAll()
		case err := <-failures: // events were lost
			s.log.Warn().Err(err).Msg("watching files")
			s.reloadAll()
		case <-events:
			if due == nil {
				deadline = time.Now().Add(settleAtMost)
			}
			due = time.After(min(settle, time.Until(deadline)))
		case <-due:
			due = nil
			s.reloadAll()
		}
	}
}

// watch watches the directories of all files. Where that cannot be done it says
// so, and SIGHUP remains.
func (s *service) watch() (events <-chan fsnotify.Event, failures <-chan error, stop func()) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn().Err(err).Msg("files are not watched; send SIGHUP when one has changed")
		return nil, nil, func() {}
	}
	var directories []string
	for _, r := range s.reloads {
		directories = append(directories, filepath.Dir(r.path))
	}
	slices.Sort(directories)
	for _, d := range slices.Compact(directories) {
		if err := watcher.Add(d); err != nil {
			s.log.Warn().Err(err).Str("directory", d).Msg("not watched; send SIGHUP when a file in it has changed")
		}
	}
	return watcher.Events, watcher.Errors, func() { _ = watcher.Close() }
}

func (s *service) reloadAll() {
	for _, r := range s.reloads {
		changed, err := r.again()
		if changed {
			s.log.Info().Str("file", r.path).Msg(r.what + " read again")
		}
		if err != nil {
			s.log.Error().Err(err).Str("file", r.path).Msg(r.what + " not taken up; what was read before stays")
		}
	}
}

// secretFile is a secret and the file it came from, if any.
type secretFile struct {
	path string
	read readSecret
	text atomic.Pointer[secret.Text]
}

func newSecretFile(path string, read readSecret, text secret.Text) *secretFile {
	f := &secretFile{path: path, read: read}
	f.text.Store(&text)
	return f
}

// openSecretFile reads the file. With an error, the secret is empty.
func openSecretFile(path string, read readSecret) (*secretFile, error) {
	text, err := read(path)
	return newSecretFile(path, read, text), err
}

// Text returns the secret as it is now.
func (f *secretFile) Text() secret.Text { return *f.text.Load() }

// Reload reads the file again.
func (f *secretFile) Reload() (changed bool, err error) {
	next, err := f.read(f.path)
	if err != nil || next.Reveal() == f.Text().Reveal() {
		return false, err
	}
	f.text.Store(&next)
	return true, nil
}
