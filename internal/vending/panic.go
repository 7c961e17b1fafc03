package vending

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// A PanicError is a bug met during a mint. It says where, and of what type, but
// not what: the value of a panic can be anything, a token included.
type PanicError struct {
	Stack []byte

	cause any
}

func panicked(cause any) error { return &PanicError{debug.Stack(), cause} }

func (e *PanicError) Error() string {
	if known, ok := e.cause.(runtime.Error); ok { // its words are the runtime's
		return "panic in a mint: " + known.Error()
	}
	return fmt.Sprintf("panic in a mint of type %T", e.cause)
}
