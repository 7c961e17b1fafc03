package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// check looks whether there can be records, and makes none.
func (a AuditConfig) check() checked {
	const part = "audit"
	if a.File == standardOutput {
		return inOrder(part, "to standard output")
	}
	f, err := os.OpenFile(a.File, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0) // as the service does
	switch {
	case err == nil:
		_ = f.Close() // nothing was written
		return inOrder(part, "to "+a.File)
	case errors.Is(err, os.ErrNotExist):
		if info, failed := os.Stat(filepath.Dir(a.File)); failed == nil && info.IsDir() {
			return inOrder(part, "to "+a.File+", which is made at the start")
		}
	}
	return amiss(part, cause(err).Error(), "let the service write the file of audit.file, and its folder, where it makes a new one")
}

// cause is what the system says of a file, without its path.
func cause(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	return err
}
