// Package rolling_test changes a running service while people log in: another
// version in the place of one, another API key, users file, rule. The replicas
// are the built binary, behind a small reverse proxy that asks /readyz as a
// balancer does, and who asks is the load of bench/load at a steady rate. Nobody
// may notice anything: every request is answered with a token of who asked.
package rolling_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
)

var perSecond = flag.Float64("rate", 50, "how many requests there are in a second, in each test")

// The two versions of the binary differ in what they say of themselves.
const (
	oldVersion = "v1.0.0-rolling"
	newVersion = "v1.1.0-rolling"
)

// binaries are where the versions are, built once by TestMain.
var binaries = map[string]string{}

func TestMain(m *testing.M) {
	process.Main(8, func(dir string) (code int, err error) {
		for _, version := range []string{oldVersion, newVersion} {
			folder := filepath.Join(dir, version)
			if err := os.Mkdir(folder, 0o700); err != nil {
				return 0, err
			}
			if binaries[version], err = process.Build(folder, "-ldflags", "-s -w -X main.version="+version); err != nil {
				return 0, err
			}
		}
		return m.Run(), nil
	})
}
