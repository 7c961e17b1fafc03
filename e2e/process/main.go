package process

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
)

// Main is a package's TestMain: run builds what the tests need into a folder that is gone
// afterwards, and runs them. So many tests run at once, unless -parallel says otherwise:
// those of a program mostly wait for it; 0 is as many as Go thinks.
func Main(atOnce int, run func(dir string) (code int, err error)) {
	if !flag.Parsed() {
		flag.Parse()
	}
	if f := flag.Lookup("test.parallel"); atOnce > 0 && f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", strconv.Itoa(atOnce)) // which takes any number
	}
	code, err := inFolder(run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func inFolder(run func(dir string) (int, error)) (code int, err error) {
	dir, err := os.MkdirTemp("", "tokensvc-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return run(dir)
}
