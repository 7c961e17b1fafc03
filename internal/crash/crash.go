// Package crash turns a panic into an error: where a bug must not end the process,
// because others are being served. It imports nothing of ours.
package crash

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// An Error is a bug that was met. It says where, and of what type, but not what:
// the value of a panic can be anything, a secret included.
type Error struct {
	Stack []byte

	cause any
}

func (e *Error) Error() string {
	if known, ok := e.cause.(runtime.Error); ok { // its words are the runtime's
		return "panic: " + known.Error()
	}
	return fmt.Sprintf("panic of type %T", e.cause)
}

// Into sets err to an *Error if the function that deferred it panics. Whatever
// starts a goroutine, or is called in one of a library's, defers it there: a panic
// in a goroutine ends the process.
func Into(err *error) {
	if cause := recover(); cause != nil {
		*err = &Error{debug.Stack(), cause}
	}
}
