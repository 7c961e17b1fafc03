package authz

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
)

// A bug met while others wait is an error to them, and no end of the process.
func TestABugWhileAskingAnIssuerIsAnError(t *testing.T) {
	broken := roundTrip(func(*http.Request) (*http.Response, error) { panic("marked") })
	_, err := newAsked(t, broken).introspector.introspect(t.Context(), "token")
	if _, ok := errors.AsType[*crash.Error](err); !ok {
		t.Errorf("asking about a token: %v", err)
	}
	s, err := newKeySource(Issuer{Name: "main", URL: "https://login.example.com", Keys: KeysFromDiscovery}, Config{Transport: broken, Now: time.Now, Waiting: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.begin(t.Context()).wait(t.Context()); err == nil {
		t.Error("fetching keys: no error")
	} else if _, ok := errors.AsType[*crash.Error](err); !ok {
		t.Errorf("fetching keys: %v", err)
	}
}
