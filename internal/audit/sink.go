package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// lookEvery is the least time between two looks at whether the path still leads to the
// file that is open.
const lookEvery = time.Second

// A sink is where lines go.
type sink struct {
	path   string // "" for what cannot be opened again
	out    io.Writer
	file   *os.File // out, if it is one, or nil
	info   os.FileInfo
	looked time.Time
	broken bool // the last write failed
	torn   bool // what was written last is no whole line
}

func openSink(cfg Config) (sink, error) {
	if cfg.Path == "" {
		s := sink{out: cfg.Out}
		s.file, _ = cfg.Out.(*os.File)
		return s, nil
	}
	s := sink{path: cfg.Path}
	return s, s.open()
}

// open opens the path. The error names no path.
func (s *sink) open() error {
	// Of a pipe that nobody reads, the usual way would wait for a reader.
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return withoutPath(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		_ = f.Close()
		return withoutPath(err)
	}
	_ = s.close() // what was written is written
	s.out, s.file, s.info, s.looked = f, f, info, time.Now()
	s.torn = endsTorn(s.path, info)
	return nil
}

// endsTorn reports whether the last line of a regular file is not whole, because the
// machine, or whoever wrote it, was killed. What cannot be read is taken to be.
func endsTorn(path string, info os.FileInfo) bool {
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err != nil || last[0] != '\n'
}

// ready opens the file anew if that is asked for, or the path leads to another by now.
func (s *sink) ready(now time.Time, anew bool) error {
	if s.path == "" {
		return nil
	}
	if s.broken || now.Sub(s.looked) >= lookEvery {
		s.looked = now
		info, err := os.Stat(s.path)
		anew = anew || err != nil || !os.SameFile(info, s.info)
	}
	if !anew {
		return nil
	}
	s.broken = true // until it is open
	if err := s.open(); err != nil {
		return err
	}
	s.broken = false
	return nil
}

// write writes lines, before which stands a line break that is for what is torn. It
// returns how many bytes of whole lines are there, the line break aside.
func (s *sink) write(lines []byte) (whole int, err error) {
	first := 1
	if s.torn {
		first = 0
	}
	n, err := s.out.Write(lines[first:])
	s.broken = err != nil
	if err == nil && n < len(lines)-first {
		err, s.broken = io.ErrShortWrite, true
	}
	if err == nil {
		s.torn = false
		return len(lines) - 1, nil
	}
	there := lines[first : first+max(n, 0)]
	end := bytes.LastIndexByte(there, '\n') + 1
	switch rest := len(there) - end; {
	case rest > 0:
		s.torn = !s.takeBack(rest)
	case end > 0:
		s.torn = false
	}
	return max(end-(1-first), 0), withoutPath(err)
}

// takeBack takes the last bytes away that were written to a regular file, unless
// somebody else has written since.
func (s *sink) takeBack(n int) bool {
	if s.file == nil {
		return false
	}
	end, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return false
	}
	info, err := s.file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != end || s.file.Truncate(end-int64(n)) != nil {
		return false
	}
	_, err = s.file.Seek(end-int64(n), io.SeekStart) // where it does not append
	return err == nil
}

// close closes what was opened here.
func (s *sink) close() error {
	if s.path == "" || s.file == nil {
		return nil
	}
	return withoutPath(s.file.Close())
}

// withoutPath is why something could not be done to a file, in the system's words alone.
func withoutPath(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", of.Op, of.Err)
	}
	return err
}
