package pacing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func TestNewRefusesNonsenseByName(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  pacing.Config
	}{
		{"MaxWaiting", pacing.Config{MaxWaiting: -1}},
		{"MaxWaiting", pacing.Config{MaxWaiting: 1 << 20}},
		{"MaxWait", pacing.Config{MaxWait: -1}},
		{"MaxWait", pacing.Config{MaxWait: time.Hour}},
	} {
		if _, err := pacing.New(row.cfg); err == nil || !strings.Contains(err.Error(), row.name) {
			t.Errorf("New(%+v): %v, want an error that names %s", row.cfg, err, row.name)
		}
	}
}

// A clock that is set back, or on by a year, must not stop the service.
func TestAClockThatIsSet(t *testing.T) {
	now := time.Now()
	p := newPacer(t, pacing.Config{Now: func() time.Time { return now }})
	for _, step := range []time.Duration{0, -time.Hour, 365 * 24 * time.Hour, -time.Second} {
		now = now.Round(0).Add(step)
		for n := range 5 {
			if err := p.Logins().Enter(t.Context(), id(n)); err != nil {
				t.Error(err)
			}
			p.Logins().Leave(telnyx.Attempt{About: id(n), Limit: 100, Remaining: 99, Reset: time.Second})
		}
	}
}
