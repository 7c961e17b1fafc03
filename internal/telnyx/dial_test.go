package telnyx_test

import (
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// However often all of them begin at once, 64 callers need 64 connections.
func TestNoMoreConnectionsThanCallers(t *testing.T) {
	const callers = 64
	s := telnyxtest.StartT(t, telnyxtest.Options{Latency: time.Millisecond})
	c := newClient(t, telnyx.Config{BaseURL: s.URL()})
	id := parseID(t, s.AddCredential(telnyxtest.Credential{}))
	for range 20 {
		var calling sync.WaitGroup
		for range callers {
			calling.Go(func() {
				for range 3 {
					if _, err := c.Mint(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calling.Wait()
	}
	if n := s.Connections(); n > callers {
		t.Errorf("%d connections for %d callers", n, callers)
	}
}

// A connection that hangs while it is opened, for a caller who has gone, does not
// keep the next one waiting for long.
func TestAConnectionThatIsOpenedInVainHoldsNobodyUp(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	c := newClient(t, telnyx.Config{BaseURL: s.URL()})
	id := parseID(t, s.AddCredential(telnyxtest.Credential{}))
	for range 3 {
		s.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Reset, Times: 1})
		began := time.Now()
		if _, err := c.Mint(t.Context(), id); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a mint after a reset took %v", took)
		}
	}
}
