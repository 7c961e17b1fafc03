package provisioning_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestANewCredentialThatTelnyxDoesNotAcceptIsNotReady(t *testing.T) {
	w := newWorld(t)
	first := w.finder()
	id, err := w.find(first, alice, phone)
	if err != nil {
		t.Fatal(err)
	}
	second := w.finder()
	w.mustFind(second, alice, phone) // which did not make it
	old := w.assign("main:bob", phone)
	w.mustFind(first, "main:bob", phone)
	for name, m := range map[string]*provisioning.Minter{"who made it": first.Minter(w.client()), "another replica": second.Minter(w.client())} {
		for status, want := range map[int]error{http.StatusNotFound: nil, http.StatusUnauthorized: telnyx.ErrKeyRejected} {
			w.inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: status, Times: 1})
			_, err := m.Mint(t.Context(), id)
			soon, ok := errors.AsType[*directory.NotReadyError](err)
			if want == nil && (!ok || soon.RetryAfter != 2*time.Second || errors.Is(err, telnyx.ErrCredentialRejected)) || want != nil && !errors.Is(err, want) {
				t.Errorf("%s, status %d: %v", name, status, err)
			}
		}
		if _, err := m.Mint(t.Context(), id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: http.StatusNotFound, Times: 1})
		if _, err := m.Mint(t.Context(), old); !errors.Is(err, telnyx.ErrCredentialRejected) {
			t.Errorf("%s, one that was assigned: %v", name, err)
		}
	}
	w.advance(31 * time.Second)
	w.mustFind(first, alice, phone) // which does not make it younger
	w.inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: http.StatusNotFound})
	if _, err := first.Minter(w.client()).Mint(t.Context(), id); !errors.Is(err, telnyx.ErrCredentialRejected) {
		t.Errorf("half a minute later: %v", err)
	}
}
