package main

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

// This file stands in for cmd/tokensvc/clock.go in the build for tests: a clock
// that can be moved, by a file that a variable names. The file holds two
// durations: how far all time has moved, and how far the wall clock has been
// stepped beside it. The monotonic clock goes with the first and not with the
// second, as the kernel's does. What was taken up is written into a file beside
// it that has the process's number for an ending, for whoever waits for that.

const lookAtClock = 50 * time.Millisecond

var (
	movedBy, steppedBy atomic.Int64 // nanoseconds; whole seconds
	taken              []byte       // what the file held when it was taken up
)

func now() time.Time {
	t := time.Now().Add(time.Duration(movedBy.Load()))
	step(&t, time.Duration(steppedBy.Load()))
	return t
}

// step changes what a time says and leaves its monotonic reading as it is, which
// package time has no means for.
func step(t *time.Time, by time.Duration) {
	const wallSecond = 30 // bits of nanoseconds below the seconds
	wall := (*uint64)(unsafe.Pointer(t))
	*wall += uint64(by/time.Second) << wallSecond
}

func init() {
	path := os.Getenv("TEST_CLOCK_FILE")
	if path == "" {
		return
	}
	readClock(path)
	go func() {
		for range time.Tick(lookAtClock) {
			readClock(path)
		}
	}()
}

func readClock(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	var moved, stepped string
	if _, err := fmt.Sscan(string(text), &moved, &stepped); err != nil {
		return // it is being written
	}
	if bytes.Equal(text, taken) {
		return
	}
	for _, s := range []struct {
		text string
		by   *atomic.Int64
	}{{moved, &movedBy}, {stepped, &steppedBy}} {
		d, err := time.ParseDuration(s.text)
		if err != nil {
			panic(err)
		}
		s.by.Store(int64(d))
	}
	taken = text
	_ = os.WriteFile(fmt.Sprint(path, ".", os.Getpid()), text, 0o600)
}
