package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

func TestHowTelnyxIsFollowsFromTheCalls(t *testing.T) {
	o := &telnyxObserver{log: zerolog.Nop()}
	if got := o.telnyx(1); got != "not asked yet" {
		t.Errorf("at the start: %q", got)
	}
	of := func(kind error) error { return fmt.Errorf("minting: %w", &telnyx.Error{Op: "mint", Kind: kind}) }
	for _, step := range []struct {
		what         string
		err          error
		one, several string
	}{
		{"a caller who left says nothing", context.Canceled, "not asked yet", "not asked yet"},
		{"a token", nil, "ok", "ok"},
		{"the key is rejected", of(telnyx.ErrKeyRejected), "does not accept the API key", "does not accept any of the API keys"},
		{"an outage", of(telnyx.ErrUnavailable), "cannot be reached", "cannot be reached"},
		{"a credential is rejected: it answers", of(telnyx.ErrCredentialRejected), "ok", "ok"},
		{"a slow minute", of(telnyx.ErrTimeout), "is slow: no answer in time", "is slow: no answer in time"},
		{"too many requests", of(telnyx.ErrLimited), "limits this service", "limits this service"},
		{"its outage, as the breaker has it", telnyx.Withheld(telnyx.ErrUnavailable, 0, errors.New("open")), "cannot be reached", "cannot be reached"},
		{"its limit again", of(telnyx.ErrLimited), "limits this service", "limits this service"},
		{"we are busy", vending.ErrBusy, "limits this service", "limits this service"},
		{"a bug", errors.New("a bug"), "limits this service", "limits this service"},
		{"a page", of(telnyx.ErrBadAnswer), "gives answers that cannot be used", "gives answers that cannot be used"},
		{"a token again", nil, "ok", "ok"},
		{"a call that we hold back is no limit of Telnyx's", telnyx.Withheld(telnyx.ErrLimited, 0, errors.New("pace")), "ok", "ok"},
	} {
		o.asked(step.err)
		if one, several := o.telnyx(1), o.telnyx(2); one != step.one || several != step.several {
			t.Errorf("%s: %q, and with several keys %q; want %q and %q", step.what, one, several, step.one, step.several)
		}
	}
}

// The log says once what is new of the keys.
func TestTheLogSaysWhichKeyIsInUse(t *testing.T) {
	const untried, accepted, rejected = telnyx.KeyUntried, telnyx.KeyAccepted, telnyx.KeyRejected
	type step struct {
		keys  []telnyx.KeyState
		inUse int
		want  string // "" for no line
	}
	for name, steps := range map[string][]step{
		"one key": {
			{[]telnyx.KeyState{accepted}, 0, ""},
			{[]telnyx.KeyState{rejected}, -1, "error: Telnyx does not accept the API key"},
			{[]telnyx.KeyState{rejected}, -1, ""},
			{[]telnyx.KeyState{accepted}, 0, "info: Telnyx accepts every API key that was tried"},
		},
		"a rotation": {
			{[]telnyx.KeyState{accepted, untried}, 0, ""},
			{[]telnyx.KeyState{rejected, untried}, -1, ""},
			{[]telnyx.KeyState{rejected, accepted}, 1, "warn: Telnyx does not accept API key 0 of 0 to 1; another is used"},
			{[]telnyx.KeyState{accepted, accepted}, 0, "info: Telnyx accepts every API key that was tried"},
		},
		"all of three": {
			{[]telnyx.KeyState{rejected, untried, untried}, -1, ""},
			{[]telnyx.KeyState{rejected, rejected, untried}, -1, ""},
			{[]telnyx.KeyState{rejected, rejected, rejected}, -1, "error: Telnyx does not accept any of the API keys"},
			{[]telnyx.KeyState{rejected, rejected, accepted}, 2, "warn: Telnyx does not accept API key 0 and 1 of 0 to 2; another is used"},
		},
	} {
		var log bytes.Buffer
		o := &telnyxObserver{log: zerolog.New(&log)}
		for i, s := range steps {
			log.Reset()
			o.keysAre(telnyx.State{InUse: s.inUse, Keys: s.keys})
			var line struct{ Level, Message string }
			_ = json.Unmarshal(log.Bytes(), &line) // or there is none
			if got := strings.TrimPrefix(line.Level+": "+line.Message, ": "); got != s.want {
				t.Errorf("%s, step %d: logged %q, want %q", name, i, got, s.want)
			}
		}
	}
}

func TestTheMetricsOfTheKeys(t *testing.T) {
	state := telnyx.State{InUse: -1}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newKeyCollector(func() telnyx.State { return state }))
	for _, row := range []struct {
		state telnyx.State
		want  []string
	}{
		{telnyx.State{InUse: -1}, []string{"tokensvc_telnyx_key_in_use -1"}},
		{
			telnyx.State{InUse: 1, Keys: []telnyx.KeyState{telnyx.KeyRejected, telnyx.KeyAccepted, telnyx.KeyUntried}},
			[]string{"tokensvc_telnyx_key_accepted 0 key=0", "tokensvc_telnyx_key_accepted 1 key=1", "tokensvc_telnyx_key_in_use 1"},
		},
	} {
		state = row.state
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range families {
			for _, m := range f.GetMetric() {
				text := fmt.Sprint(f.GetName(), " ", m.GetGauge().GetValue())
				for _, l := range m.GetLabel() {
					text += " " + l.GetName() + "=" + l.GetValue()
				}
				got = append(got, text)
			}
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Error(diff)
		}
	}
}
