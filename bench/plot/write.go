package plot

import (
	"errors"
	"os"
	"path/filepath"
)

// Write draws charts into a file, and makes its folder.
func Write(path string, charts ...Chart) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(SVG(file, charts...), file.Close())
}
