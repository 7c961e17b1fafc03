// Package phone_test has a real browser, with Telnyx's real SDK and our module
// in a page, be a softphone between the built binary and a fake Telnyx, and sees
// whether it would ring: at once, after a night's sleep, and whatever breaks in
// between.
//
// The page's own clock can be moved, and with it the service's, the issuer's and
// Telnyx's. Every wait is for something to happen, and has an end.
package phone_test

import (
	"flag"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// shots is where to write pictures of the page for people to look at.
var shots = flag.String("shots", "", "`folder` for screenshots of the demo page; none by default")

// binary is tokensvc as it is shipped, but for a clock that can be moved. It is
// built once by TestMain.
var binary string

// atOnce is how many browsers run at once. They wait most of the time.
const atOnce = 3

func TestMain(m *testing.M) {
	process.Main(atOnce, func(dir string) (code int, err error) {
		// As it is shipped, but for the clock of the reliability tests.
		overlay, err := process.Overlay(dir, "../reliability/testdata/clock.go")
		if err != nil {
			return 0, err
		}
		if binary, err = process.Build(dir, overlay); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}

// startService runs the binary with these variables until the test ends.
func startService(t *testing.T, env map[string]string) *process.Process {
	t.Helper()
	return process.Start(t, binary, env)
}
