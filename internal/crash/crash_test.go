package crash_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/crash"
)

func caught(work func()) (err error) {
	defer crash.Into(&err)
	work()
	return errors.New("it returned")
}

func TestAPanicIsToldWithoutItsWords(t *testing.T) {
	const marked = "marked-secret"
	for name, row := range map[string]struct {
		work func()
		says string
	}{
		"a text":        {func() { panic(marked) }, "panic of type string"},
		"an error":      {func() { panic(errors.New(marked)) }, "panic of type *errors.errorString"},
		"the runtime's": {func() { _ = []byte(marked)[len(marked)] }, "panic: runtime error: index out of range [13] with length 13"},
	} {
		err := caught(row.work)
		found, ok := errors.AsType[*crash.Error](err)
		if !ok || err.Error() != row.says {
			t.Errorf("%s: %v, want %s", name, err, row.says)
			continue
		}
		if !strings.Contains(string(found.Stack), "TestAPanicIsToldWithoutItsWords") || strings.Contains(string(found.Stack), marked) {
			t.Errorf("%s: the stack is %s", name, found.Stack)
		}
	}
	if err := caught(func() {}); err == nil || err.Error() != "it returned" {
		t.Errorf("without a panic: %v", err)
	}
}
