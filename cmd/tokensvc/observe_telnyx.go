package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// telnyxObserver tells how Telnyx is, from what became of the calls: to ask for its
// own sake would cost a call, and say nothing of the next.
type telnyxObserver struct {
	log  zerolog.Logger
	last atomic.Pointer[string]

	mu   sync.Mutex
	said string // of the keys, in the log
}

// How Telnyx is, as /readyz says it.
const (
	telnyxNotAsked = "not asked yet"
	telnyxOK       = "ok"
	oneRejected    = "does not accept the API key"
	allRejected    = "does not accept any of the API keys"
)

// asked is told of every token asked of Telnyx.
func (o *telnyxObserver) asked(err error) {
	text := telnyxOK
	switch {
	case errors.Is(err, context.Canceled), isOurPace(err):
		return
	case err == nil, errors.Is(err, telnyx.ErrCredentialRejected): // which is an answer
	case errors.Is(err, telnyx.ErrKeyRejected):
		text = oneRejected
	case errors.Is(err, telnyx.ErrLimited):
		text = "limits this service"
	case errors.Is(err, telnyx.ErrTimeout):
		text = "is slow: no answer in time"
	case errors.Is(err, telnyx.ErrUnavailable):
		text = "cannot be reached"
	case errors.Is(err, telnyx.ErrBadAnswer):
		text = "gives answers that cannot be used"
	default: // a matter of our own
		return
	}
	o.last.Store(&text)
}

// isOurPace reports whether a call was not made because there are as many as Telnyx
// allows.
func isOurPace(err error) bool {
	failed, ok := errors.AsType[*telnyx.Error](err)
	return ok && failed.WasWithheld() && errors.Is(err, telnyx.ErrLimited)
}

// telnyx says how Telnyx was when it was last asked, with so many API keys.
func (o *telnyxObserver) telnyx(keys int) string {
	last := o.last.Load()
	switch {
	case last == nil:
		return telnyxNotAsked
	case *last == oneRejected && keys > 1:
		return allRejected
	}
	return *last
}

// keysAre is told when Telnyx takes an API key otherwise than before. What it says
// names the keys by their places.
func (o *telnyxObserver) keysAre(s telnyx.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := keysText(s)
	if text == o.said || o.said == "" && text == telnyxOK {
		return
	}
	switch {
	case s.AllRejected():
		o.log.Error().Msg("Telnyx " + text)
	case text == telnyxOK:
		o.log.Info().Msg("Telnyx accepts every API key that was tried")
	case s.InUse < 0: // the next is being tried
		return
	default:
		o.log.Warn().Int("in_use", s.InUse).Msg("Telnyx " + text + "; another is used")
	}
	o.said = text
}

// keysText says what Telnyx does not accept, or "ok".
func keysText(s telnyx.State) string {
	var rejected []string
	for i, k := range s.Keys {
		if k == telnyx.KeyRejected {
			rejected = append(rejected, strconv.Itoa(i))
		}
	}
	switch {
	case len(rejected) == 0:
		return telnyxOK
	case len(s.Keys) == 1:
		return oneRejected
	case s.AllRejected():
		return allRejected
	}
	return fmt.Sprintf("does not accept API key %s of 0 to %d", strings.Join(rejected, " and "), len(s.Keys)-1)
}

// keyCollector has the metrics of the API keys. There are at most
// telnyx.MaxAPIKeys of them.
type keyCollector struct {
	state           func() telnyx.State
	inUse, accepted *prometheus.Desc
}

func newKeyCollector(state func() telnyx.State) *keyCollector {
	return &keyCollector{
		state: state,
		inUse: prometheus.NewDesc("tokensvc_telnyx_key_in_use",
			"Place of the API key that Telnyx accepted last, from 0; -1 if it accepts none or has not been asked.", nil, nil),
		accepted: prometheus.NewDesc("tokensvc_telnyx_key_accepted",
			"1 if Telnyx accepted the API key at this place when it was last tried, 0 if not. Keys that were not tried are missing.", []string{"key"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *keyCollector) Describe(to chan<- *prometheus.Desc) { to <- c.inUse; to <- c.accepted }

// Collect implements prometheus.Collector.
func (c *keyCollector) Collect(to chan<- prometheus.Metric) {
	s := c.state()
	to <- prometheus.MustNewConstMetric(c.inUse, prometheus.GaugeValue, float64(s.InUse))
	for i, k := range s.Keys {
		if k == telnyx.KeyUntried {
			continue
		}
		value := 0.0
		if k == telnyx.KeyAccepted {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(c.accepted, prometheus.GaugeValue, value, strconv.Itoa(i))
	}
}
