package vending_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// broken is a minter with a bug in it.
type broken struct{ with any }

func (b broken) Mint(context.Context, telnyx.CredentialID) (telnyx.LoginToken, error) { panic(b.with) }

// The mint runs apart from its callers, where nobody else would recover.
func TestAPanicInAMintIsAnErrorToThoseWhoWait(t *testing.T) {
	const marked = "marked-value-of-a-panic"
	told := make(chan error, 1)
	m, err := vending.New(vending.Config{
		Minter: broken{errors.New(marked)},
		OnMint: func(_ time.Duration, err error) { told <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = m.Vend(t.Context(), anyCredential(t), vending.Ask{})
	for _, err := range []error{err, <-told} {
		if caught, ok := errors.AsType[*crash.Error](err); !ok || !strings.Contains(string(caught.Stack), "broken.Mint") {
			t.Errorf("got %v, want a crash.Error with the stack", err)
		}
		if err == nil || strings.Contains(err.Error(), marked) || !strings.Contains(err.Error(), "*errors.errorString") {
			t.Errorf("it says %v, want the type of the panic's value and not the value", err)
		}
	}
}

func TestAPanicOfTheRuntimeIsToldInTheRuntimesWords(t *testing.T) {
	m, err := vending.New(vending.Config{Minter: unset{}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Vend(t.Context(), anyCredential(t), vending.Ask{}); err == nil || !strings.Contains(err.Error(), "nil map") {
		t.Errorf("got %v, want the runtime's words", err)
	}
}

type unset struct{ tokens map[string]int }

func (u unset) Mint(context.Context, telnyx.CredentialID) (telnyx.LoginToken, error) {
	u.tokens["x"]++
	return telnyx.LoginToken{}, nil
}

func anyCredential(t *testing.T) telnyx.CredentialID {
	t.Helper()
	id, err := telnyx.ParseCredentialID("5c7ac7d0-db65-4f11-98e1-eec0d1d5c6ae")
	if err != nil {
		t.Fatal(err)
	}
	return id
}
