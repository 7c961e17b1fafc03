// Package reliability_test breaks what the built binary needs, and the binary
// itself, under load, mends it again, and counts what callers saw. Each fault is
// a row that says who may see what, and how soon all must be as before.
//
// As a part of all tests each fault lasts a moment. `make reliability` has each
// last for half a minute with the service's own time-outs, and writes what it
// measured into docs/reliability.md.
package reliability_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// How it is run. The defaults are those of `make test`.
var (
	faultLasts = flag.Duration("fault", 2500*time.Millisecond, "how long each fault lasts; from 10 s on with the service's own time-outs")
	document   = flag.String("document", "", "`file` whose table is to be written")
	soakLasts  = flag.Duration("soak", 4*time.Second, "how long the soak lasts")
	soakCSV    = flag.String("soak-csv", "", "`file` to write the soak's samples to")
)

// binary is tokensvc as it is shipped, movable the same with a clock that can be
// moved and a name server of ours. Both are built once by TestMain.
var binary, movable string

// measured is what the rows found, for the document.
var measured results

// atOnce is how many rows run at once. They wait most of the time, so it is more
// than there are processors; but too many, and the rows break each other.
func atOnce() int {
	if thorough() {
		return 12
	}
	return 24
}

func TestMain(m *testing.M) {
	flag.Parse() // atOnce asks for one
	process.Main(atOnce(), func(dir string) (code int, err error) {
		if err := buildBoth(dir); err != nil {
			return 0, err
		}
		if code = m.Run(); *document == "" {
			return code, nil
		}
		return code, measured.writeInto(*document) // a failure is marked in it
	})
}

func buildBoth(dir string) error {
	overlay, err := process.Overlay(dir, "testdata/clock.go", "testdata/names.go")
	if err != nil {
		return err
	}
	other := filepath.Join(dir, "movable")
	if err := os.Mkdir(other, 0o700); err != nil {
		return err
	}
	var building sync.WaitGroup
	var plainErr, movableErr error
	building.Go(func() { binary, plainErr = process.Build(dir) })
	building.Go(func() { movable, movableErr = process.Build(other, overlay) })
	building.Wait()
	return errors.Join(plainErr, movableErr)
}

// thorough reports whether faults last long enough for the service's own
// time-outs to show. Otherwise these are shortened.
func thorough() bool { return *faultLasts >= 10*time.Second }
