package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// This file stands in for cmd/tokensvc/clock.go in the build for tests: a clock that
// panics now and then, while a token's story is told.

var (
	panicEvery, _ = strconv.ParseInt(os.Getenv("TEST_PANIC_EVERY"), 10, 64)
	stories       atomic.Int64
)

func now() time.Time {
	if panicEvery > 0 {
		pc, _, _, _ := runtime.Caller(1)
		if strings.HasSuffix(runtime.FuncForPC(pc).Name(), "(*Service).tell") && stories.Add(1)%panicEvery == 0 {
			panic("as the test wants")
		}
	}
	return time.Now()
}
