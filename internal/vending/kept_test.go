package vending

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func TestTokensMintedTogetherAreNotRenewedTogether(t *testing.T) {
	seen := make(map[float64]bool)
	for range 1000 {
		at := aheadLife(0.5)
		if at < 0.525 || at > 0.6 {
			t.Fatalf("renewed with %v of its life left", at)
		}
		seen[at] = true
	}
	if len(seen) < 900 {
		t.Errorf("%d different times in 1000", len(seen))
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	for name, row := range map[string]struct {
		maxTokens int
		maxBytes  int64
		size      int
		tokens    int
		want      int
	}{
		"many tokens":            {1000, 0, 600, 3000, 1000},
		"large ones":             {defaultMaxTokens, 0, telnyx.MaxTokenBytes, 20_000, DefaultMaxBytes / telnyx.MaxTokenBytes},
		"all there is room for":  {1000, 0, 600, 900, 900},
		"large ones, but so few": {1000, 0, telnyx.MaxTokenBytes, 900, 900},
		"with little memory":     {0, 8 << 20, 600, 20_000, 8 << 20 / (600 + keptOverhead)},
		"few, with little":       {1000, 8 << 20, 600, 3000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := New(Config{Minter: none{}, MaxTokens: row.maxTokens, MaxBytes: row.maxBytes})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			jwt, began := secret.New(strings.Repeat("x", row.size)), time.Now()
			for i := range row.tokens {
				id, err := telnyx.ParseCredentialID(fmt.Sprintf("00000000-0000-4000-8000-%012x", i))
				if err != nil {
					t.Fatal(err)
				}
				m.keep(id, telnyx.LoginToken{JWT: jwt, ExpiresAt: began.Add(time.Hour)}, began)
			}
			m.kept.CleanUp()
			tokens := 0
			for range m.kept.All() {
				tokens++
			}
			if tokens > row.want || tokens < row.want*9/10 {
				t.Errorf("%d tokens are kept, want %d or a little less", tokens, row.want)
			}
		})
	}
}

type none struct{}

func (none) Mint(context.Context, telnyx.CredentialID) (telnyx.LoginToken, error) {
	return telnyx.LoginToken{}, telnyx.ErrUnavailable
}
