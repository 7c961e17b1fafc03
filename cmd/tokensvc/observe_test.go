package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

type broken struct{}

func (broken) Mint(context.Context, telnyx.CredentialID) (telnyx.LoginToken, error) {
	panic("marked-value")
}

func TestABugInAMintIsLoggedWithItsStack(t *testing.T) {
	var log bytes.Buffer
	o := newObserver(zerolog.New(&log).Level(zerolog.InfoLevel), prometheus.NewRegistry())
	m, err := vending.New(vending.Config{Minter: broken{}, OnMint: o.mint})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Vend(t.Context(), telnyx.CredentialID{}, vending.Ask{}); err == nil {
		t.Error("no error")
	}
	if !strings.Contains(log.String(), "broken.Mint") || strings.Contains(log.String(), "marked-value") {
		t.Errorf("logged %s", log.String())
	}
}
