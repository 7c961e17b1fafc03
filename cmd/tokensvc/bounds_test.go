package main

import (
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
)

// The two know nothing of each other, and must agree on how long a user may be.
func TestADirectoryHasRoomForEveryUser(t *testing.T) {
	if authz.MaxUserValue != directory.MaxUserValue {
		t.Errorf("a verified user has up to %d bytes, one in a directory %d", authz.MaxUserValue, directory.MaxUserValue)
	}
}
