// Package e2e_test runs the built binary as its users do: one process,
// configured by environment variables, between a real OpenID provider and a
// fake Telnyx. What the other packages prove in parts is proved together here,
// so a test names nothing that a user could not see.
package e2e_test

import (
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// binary is the tokensvc under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	process.Main(0, func(dir string) (code int, err error) {
		if binary, err = process.Build(dir); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}
