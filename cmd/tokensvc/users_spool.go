package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSpool bounds in bytes a list that is kept in a file for the time of an import.
const maxSpool = 2 << 30

var errSpool = fmt.Errorf("a list of more than %d GiB can be imported with -atomic from a file only, and not from standard input or a pipe", maxSpool>>30)

// spool reads all of a list into a file that only we can read, and that is gone
// when it is closed, whatever happens to us.
func spool(from io.Reader, most int64) (file *os.File, err error) {
	file, err = os.CreateTemp("", "tokensvc-import-*") // with mode 0600
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return file, err
	}
	n, err := io.Copy(file, io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return file, err
	case n > most:
		return file, errSpool
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}
