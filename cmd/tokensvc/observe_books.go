package main

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/provisioning"
)

// bookObserver logs and counts what goes on in a directory that is a database.
type bookObserver struct {
	log      zerolog.Logger
	opened   atomic.Bool // it has answered once
	trouble  atomic.Pointer[string]
	up       prometheus.Gauge
	creates  *prometheus.CounterVec
	deletes  *prometheus.CounterVec
	renewals *prometheus.CounterVec
	findings *prometheus.GaugeVec
	waiting  prometheus.Gauge
	oldest   prometheus.Gauge
}

func newBookObserver(log zerolog.Logger, registry prometheus.Registerer) *bookObserver {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	byOutcome := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"outcome"})
	}
	o := &bookObserver{
		log:      log,
		up:       gauge("tokensvc_directory_up", "1 if the directory answers."),
		creates:  byOutcome("tokensvc_credentials_created_total", "Credentials to be created at Telnyx or found there, by outcome."),
		deletes:  byOutcome("tokensvc_credentials_deleted_total", "Credentials to be deleted at Telnyx, by outcome of each attempt."),
		renewals: byOutcome("tokensvc_credentials_renewed_total", "Credentials to be made to expire later, by outcome."),
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tokensvc_reconcile_findings",
			Help: "What the last comparison with Telnyx on this replica found, by kind.",
		}, []string{"kind"}),
		waiting: gauge("tokensvc_deletions_pending", "Credentials that are still to be deleted at Telnyx, of all replicas."),
		oldest:  gauge("tokensvc_deletion_oldest_seconds", "For how long the oldest of them has been waiting."),
	}
	registry.MustRegister(o.up, o.creates, o.deletes, o.renewals, o.findings, o.waiting, o.oldest)
	return o
}

// outcomeWord is the word for what became of work for nobody's request.
func outcomeWord(err error) string {
	if err == nil {
		return string(handler.Answered)
	}
	return string(handler.OutcomeOf(err))
}

// directoryIs is told whether the directory answers, and if not, why.
func (o *bookObserver) directoryIs(err error) {
	text := "ok"
	if err != nil {
		text = "does not answer"
		if errors.Is(err, store.ErrNewerSchema) || errors.Is(err, store.ErrOlderSchema) {
			text = err.Error()
		}
	}
	before := o.trouble.Swap(&text)
	switch {
	case err == nil:
		o.opened.Store(true)
		o.up.Set(1)
		if before != nil && *before != text {
			o.log.Info().Msg("the directory answers again")
		}
	default:
		o.up.Set(0)
		if before == nil || *before != text {
			o.log.Error().Err(err).Msg("the directory does not answer; it is asked again and again")
		}
	}
}

// directory says how the directory is, and whether it has ever answered.
func (o *bookObserver) directory() (text string, opened bool) {
	if t := o.trouble.Load(); t != nil {
		text = *t
	}
	return text, o.opened.Load()
}

func (o *bookObserver) pending(n int64, oldest time.Time) {
	o.waiting.Set(float64(n))
	age := 0.0
	if !oldest.IsZero() {
		age = time.Since(oldest).Seconds()
	}
	o.oldest.Set(age)
}

// created is told of every credential that was created or adopted, or could not be.
func (o *bookObserver) created(took time.Duration, adopted bool, err error) {
	o.creates.WithLabelValues(outcomeWord(err)).Inc()
	line, text := o.log.Info(), "credential created"
	if err != nil {
		line, text = o.log.Warn().Err(err), "credential not created"
	}
	line.Bool("adopted", adopted).Dur("duration_ms", took.Round(time.Microsecond)).Msg(text)
}

func (o *bookObserver) deleted(took time.Duration, err error) {
	o.deletes.WithLabelValues(outcomeWord(err)).Inc()
	line, text := o.log.Info(), "credential deleted"
	if err != nil {
		line, text = o.log.Warn().Err(err), "credential not deleted yet"
	}
	line.Dur("duration_ms", took.Round(time.Microsecond)).Msg(text)
}

func (o *bookObserver) renewed(took time.Duration, err error) {
	o.renewals.WithLabelValues(outcomeWord(err)).Inc()
	if err != nil {
		o.log.Warn().Err(err).Dur("duration_ms", took.Round(time.Microsecond)).Msg("credential not renewed")
	}
}

// troubled returns what is told of that which keeps some work from being done.
func (o *bookObserver) troubled(what string) func(error) {
	return func(err error) { o.log.Warn().Err(err).Msg(what) }
}

// reconciled is told of every comparison with Telnyx. One that did not come to its
// end has found nothing that could be told.
func (o *bookObserver) reconciled(r provisioning.Report, err error) {
	if r.Pages > 0 && (err == nil || errors.Is(err, provisioning.ErrTooManyGone) || errors.Is(err, provisioning.ErrTooManyOrphans)) {
		for kind, n := range map[provisioning.Kind]int{
			provisioning.Orphan: r.Orphans, provisioning.Gone: r.Gone, provisioning.Expired: r.Expired,
		} {
			o.findings.WithLabelValues(string(kind)).Set(float64(n))
		}
	}
	for _, f := range r.Findings {
		o.log.Warn().Str("kind", string(f.Kind)).Str("credential", f.Credential.String()).Str("user", f.User).
			Str("device", string(f.Device)).Msg("directory and Telnyx differ")
	}
	line := o.log.Info()
	if err != nil {
		line = o.log.Error().Err(err)
	}
	line.Int("at_telnyx", r.AtTelnyx).Int("recorded", r.Recorded).Int("orphans", r.Orphans).Int("gone", r.Gone).
		Int("expired", r.Expired).Int("adopted", r.Adopted).Int("queued", r.Queued).
		Int("retired", r.Retired).Int("young", r.Young).Msg("directory compared with Telnyx")
}
