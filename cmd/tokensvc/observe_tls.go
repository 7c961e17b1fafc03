package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tlsObserver shows how the listeners' certificates are, and counts who could not
// come in.
type tlsObserver struct {
	expiry   *prometheus.GaugeVec
	failures *prometheus.CounterVec
}

func newTLSObserver(registry prometheus.Registerer) *tlsObserver {
	o := &tlsObserver{
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tokensvc_certificate_expiry_timestamp_seconds",
			Help: "When the certificate that a listener shows, or an earlier one of its chain, ends to be valid.",
		}, []string{"listener"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_tls_handshakes_failed_total",
			Help: "Connections to a listener with which TLS could not be agreed on.",
		}, []string{"listener"}),
	}
	registry.MustRegister(o.expiry, o.failures)
	return o
}

// ends is told when the certificate in force at a listener ends.
func (o *tlsObserver) ends(listener string, at time.Time) {
	o.expiry.WithLabelValues(listener).Set(float64(at.Unix()))
}

// failed is told of every handshake that came to nothing.
func (o *tlsObserver) failed(listener string) { o.failures.WithLabelValues(listener).Inc() }
