package main

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/shared"
)

// sharedNews is what was last told of the shared cache.
type sharedNews struct {
	up   bool
	err  error
	when time.Time
}

// refusalLasts is for how long a refusal is news: what is still refused is told of
// once a minute.
const refusalLasts = 90 * time.Second

// sharedObserver logs and counts what goes on with the cache that replicas share.
type sharedObserver struct {
	log     zerolog.Logger
	up      prometheus.Gauge
	refused *prometheus.CounterVec
	last    atomic.Pointer[sharedNews] // nil before it was reached
}

func newSharedObserver(log zerolog.Logger, registry prometheus.Registerer) *sharedObserver {
	o := &sharedObserver{
		log: log,
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tokensvc_shared_cache_up",
			Help: "1 if the cache that replicas share answers.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_shared_cache_refused_total",
			Help: "Entries of the shared cache that were there and were not used, by why.",
		}, []string{"reason"}),
	}
	registry.MustRegister(o.up, o.refused)
	for _, reason := range []string{shared.Unreadable, shared.Foreign, shared.Malformed, shared.Expired, shared.Future} {
		o.refused.WithLabelValues(reason)
	}
	return o
}

// state is told when the cache comes and goes, and when one that is there refuses
// what is asked of it: because it is full, say.
func (o *sharedObserver) state(up bool, err error) {
	o.last.Store(&sharedNews{up, err, now()})
	switch {
	case !up:
		o.up.Set(0)
		o.log.Warn().Err(err).Msg("the shared cache cannot be used; each replica is on its own meanwhile")
	case err != nil:
		o.up.Set(1)
		o.log.Warn().Err(err).Msg("the shared cache does not do what is asked of it")
	default:
		o.up.Set(1)
		o.log.Info().Msg("the shared cache answers")
	}
}

func (o *sharedObserver) refuse(reason string) { o.refused.WithLabelValues(reason).Inc() }

// text is what /readyz says of it.
func (o *sharedObserver) text() string {
	switch last := o.last.Load(); {
	case last == nil:
		return "has not been reached yet; each replica is on its own"
	case !last.up:
		return "cannot be used; each replica is on its own"
	case last.err != nil && now().Sub(last.when) < refusalLasts:
		return "does not do what is asked of it: " + last.err.Error()
	}
	return "ok"
}
