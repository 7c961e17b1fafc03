package reliability_test

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// soon is how soon all is normal when Telnyx is.
const soon = 5 * time.Second

// regrown is how soon all is normal when Telnyx has refused for a while whatever it
// was asked, and does no longer: what it allows is then found out anew.
const regrown = 10 * time.Second

// What is answered while Telnyx is in trouble.
const (
	credentialRejected  = "credential_rejected"
	upstreamRejected    = "upstream_rejected"
	upstreamLimited     = "upstream_limited"
	upstreamUnavailable = "upstream_unavailable"
	upstreamTimeout     = "upstream_timeout"
)

// inject has Telnyx's token call meet a fault until it is mended.
func inject(f telnyxtest.Fault) func(*testing.T, *world) func() {
	f.Op = telnyxtest.Token
	return func(_ *testing.T, w *world) func() {
		w.telnyx.Inject(f)
		return w.telnyx.ClearFaults
	}
}

// Whatever shape its trouble takes.
func TestTelnyxAnswersWrongly(t *testing.T) {
	t.Parallel()
	said := map[telnyxtest.Shape]string{ // to who has no token
		telnyxtest.ErrorsArray:     upstreamUnavailable,
		telnyxtest.ErrorsObject:    credentialRejected,
		telnyxtest.NoErrors:        upstreamUnavailable,
		telnyxtest.Empty:           upstreamRejected,
		telnyxtest.HTML:            upstreamRejected,
		telnyxtest.NotJWT:          upstreamRejected,
		telnyxtest.JSONInstead:     upstreamRejected,
		telnyxtest.Newline:         issued, // which is harmless
		telnyxtest.Redirect:        upstreamRejected,
		telnyxtest.Endless:         upstreamRejected,
		telnyxtest.Hang:            upstreamTimeout,
		telnyxtest.HangBody:        upstreamTimeout,
		telnyxtest.Reset:           upstreamUnavailable,
		telnyxtest.ResetBody:       upstreamUnavailable,
		telnyxtest.Close:           upstreamUnavailable,
		telnyxtest.MalformedStatus: upstreamRejected,
		telnyxtest.MalformedHeader: upstreamRejected,
	}
	var rows []fault
	for _, shape := range telnyxtest.Shapes() {
		outcome, known := said[shape]
		if !known {
			t.Errorf("what is to come of the shape %q is not said", shape)
		}
		injected := telnyxtest.Fault{Shape: shape}
		name := string(shape)
		if shape == telnyxtest.ErrorsArray {
			injected.Status, name = 503, "errors-array"
		}
		rows = append(rows, telnyxRow(name, injected, outcome))
	}
	rows = append(rows, lostAnswer())
	runRows(t, rows)
}

// telnyxRow is a fault of the emulator's.
func telnyxRow(name string, injected telnyxtest.Fault, outcome string) fault {
	f := fault{name: name, begin: inject(injected), newcomers: []string{outcome}, shows: outcome, within: soon}
	if outcome == upstreamLimited {
		f.within = regrown
		if !thorough() { // of three seconds two may be spent in line, and beside all other tests the third is little
			f.newcomers = append(f.newcomers, upstreamTimeout)
		}
	}
	if outcome == credentialRejected { // then the kept token is not believed either, once it is due
		f.agers = []string{credentialRejected}
	}
	return f
}

// lostAnswer is Telnyx doing what it is asked and failing at saying so, for nobody
// has the tokens then.
func lostAnswer() fault {
	f := telnyxRow("reset, when the token was made", telnyxtest.Fault{Shape: telnyxtest.Reset, After: true}, upstreamUnavailable)
	begin := f.begin
	f.begin = func(t *testing.T, w *world) func() {
		before := w.telnyx.Minted()
		mend := begin(t, w)
		return func() {
			if n := w.telnyx.Minted() - before; n < lostTokens {
				t.Errorf("%d tokens were made, want at least %d, so nothing was lost", n, lostTokens)
			}
			mend()
		}
	}
	return f
}

// lostTokens are more than those that were under way when it began.
const lostTokens = 4

func TestTelnyxRefuses(t *testing.T) {
	t.Parallel()
	var rows []fault
	for _, row := range []struct {
		name    string
		fault   telnyxtest.Fault
		outcome string
	}{
		{"400", telnyxtest.Fault{Status: 400}, credentialRejected},
		{"401", telnyxtest.Fault{Status: 401}, upstreamRejected},
		{"403", telnyxtest.Fault{Status: 403}, upstreamRejected},
		{"404", telnyxtest.Fault{Status: 404}, credentialRejected},
		{"408", telnyxtest.Fault{Status: 408}, upstreamTimeout},
		{"409", telnyxtest.Fault{Status: 409}, upstreamRejected},
		{"422", telnyxtest.Fault{Status: 422}, credentialRejected},
		{"429 with Retry-After", telnyxtest.Fault{Status: 429, RetryAfter: "1"}, upstreamLimited},
		{"429 without Retry-After", telnyxtest.Fault{Status: 429}, upstreamLimited},
		{"500 and an empty body", telnyxtest.Fault{Status: 500, Shape: telnyxtest.Empty}, upstreamUnavailable},
		{"502 and a page", telnyxtest.Fault{Status: 502, Shape: telnyxtest.HTML}, upstreamUnavailable},
		{"503 with Retry-After", telnyxtest.Fault{Status: 503, RetryAfter: "1"}, upstreamUnavailable},
		{"504", telnyxtest.Fault{Status: 504}, upstreamTimeout},
	} {
		rows = append(rows, telnyxRow(row.name, row.fault, row.outcome))
	}
	runRows(t, rows)
}
