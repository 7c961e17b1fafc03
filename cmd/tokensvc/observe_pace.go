package main

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/pacing"
)

// paceObserver logs how Telnyx is asked.
type paceObserver struct {
	log  zerolog.Logger
	mu   sync.Mutex
	last pacing.State
}

// changed is told when the breaker changes, and when a limit is learnt.
func (o *paceObserver) changed(now pacing.State) {
	o.mu.Lock()
	before := o.last
	o.last = now
	o.mu.Unlock()
	if now.Breaker != before.Breaker {
		o.breaker(before.Breaker, now)
	}
	if now.Limit != before.Limit || now.Window != before.Window || now.Guessed != before.Guessed {
		o.limit(now)
	}
}

func (o *paceObserver) limit(now pacing.State) {
	line := o.log.Info().Int("limit", now.Limit).Dur("window_ms", now.Window)
	switch {
	case now.Limit == 0:
		o.log.Info().Msg("Telnyx no longer seems to limit the rate of calls")
	case now.Guessed:
		line.Msg("Telnyx's rate limit, guessed: it refuses calls and does not say how many it allows")
	default:
		line.Msg("Telnyx's rate limit, as it says itself")
	}
}

func (o *paceObserver) breaker(before pacing.Breaker, now pacing.State) {
	switch {
	case now.Breaker == pacing.Open && before != pacing.HalfOpen:
		o.log.Warn().Err(now.Why).Msg("Telnyx fails; it is asked only now and then")
	case now.Breaker == pacing.Closed && before != "":
		o.log.Info().Msg("Telnyx answers again")
	}
}

// measurePace has the metrics ask how it is when somebody reads them.
func measurePace(registry prometheus.Registerer, state func() pacing.State) {
	gauge := func(name, help string, value func(pacing.State) float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(state()) }))
	}
	gauge("tokensvc_telnyx_limit", "Calls that Telnyx allows in a window, as it says, or as was guessed from those it refused; 0 while it is not known.", func(s pacing.State) float64 { return float64(s.Limit) })
	gauge("tokensvc_telnyx_limit_window_seconds", "The window of that limit; 0 while it is not known.", func(s pacing.State) float64 { return s.Window.Seconds() })
	gauge("tokensvc_telnyx_share", "Calls that this service makes in a window at most; 0 while no limit is known.", func(s pacing.State) float64 { return float64(s.Share) })
	gauge("tokensvc_telnyx_remaining", "Calls that were left of the window when Telnyx last said so.", func(s pacing.State) float64 { return float64(s.Remaining) })
	gauge("tokensvc_telnyx_waiting", "Calls that wait for their turn.", func(s pacing.State) float64 { return float64(s.Waiting) })
	gauge("tokensvc_telnyx_owed", "Callers who were told when to come back, and have not come yet.", func(s pacing.State) float64 { return float64(s.Owed) })
	gauge("tokensvc_telnyx_in_flight", "Calls that Telnyx has not answered yet.", func(s pacing.State) float64 { return float64(s.InFlight) })
	for _, b := range []pacing.Breaker{pacing.Closed, pacing.HalfOpen, pacing.Open} {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "tokensvc_telnyx_breaker",
			Help:        "1 for how calls are let through: closed, all; open, none; half-open, one or two to see whether Telnyx is back.",
			ConstLabels: prometheus.Labels{"state": string(b)},
		}, func() float64 {
			if state().Breaker == b {
				return 1
			}
			return 0
		}))
	}
}

// measureConnections has a metric of how many connections to Telnyx there may be,
// which is settled when the service starts.
func measureConnections(registry prometheus.Registerer, most int) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tokensvc_telnyx_connections_max",
		Help: "Connections to Telnyx that there may be, for logins and in the background together.",
	}, func() float64 { return float64(most) }))
}
