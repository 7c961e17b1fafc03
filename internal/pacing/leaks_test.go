package pacing_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives the tests: ours and the libraries' end when they are told to.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
