package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/audit"
)

// auditCollector shows how the records of decisions are when it is asked.
type auditCollector struct {
	state   func() audit.State
	records *prometheus.Desc
	up      *prometheus.Desc
	waiting *prometheus.Desc
	lost    *prometheus.Desc
}

func newAuditCollector(state func() audit.State) *auditCollector {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &auditCollector{
		state:   state,
		records: desc("tokensvc_audit_records_total", "Records of decisions that were written, those of the start included."),
		up:      desc("tokensvc_audit_up", "1 if decisions can be recorded."),
		waiting: desc("tokensvc_audit_waiting", "Records that wait, because they could not be written."),
		lost:    desc("tokensvc_audit_lost_total", "Records that were lost, because too many waited already."),
	}
}

// Describe implements prometheus.Collector.
func (c *auditCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.records, c.up, c.waiting, c.lost} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *auditCollector) Collect(metrics chan<- prometheus.Metric) {
	s := c.state()
	up := 0.0
	if s.Failure == nil {
		up = 1
	}
	counter(metrics, c.records, float64(s.Written))
	gauge(metrics, c.up, up)
	gauge(metrics, c.waiting, float64(s.Waiting))
	counter(metrics, c.lost, float64(s.Lost))
}
