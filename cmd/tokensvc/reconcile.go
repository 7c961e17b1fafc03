package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// exitAmiss is the status of reconcile when it has found what it was not to repair.
const exitAmiss = 3

// maxRate bounds how often reconcile may call Telnyx, in a second.
const maxRate = 1000

// reconcile is `tokensvc reconcile`: the directory compared with what is at Telnyx.
func reconcile(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("reconcile", t, "[-config tokensvc.yaml] [-apply [-force]] [-rate 5] [-json]",
		"Compares the directory with what is at Telnyx. It changes nothing, unless told to by -apply.")
	path := flags.String("config", "", "`file` in YAML; without one, environment variables alone")
	apply := flags.Bool("apply", false, "repair what is amiss")
	force := flags.Bool("force", false, "repair even if the directory and the account seem not to belong together")
	rate := flags.Float64("rate", provisioning.DefaultRate, "`calls` to Telnyx in a second, at most")
	asJSON := flags.Bool("json", false, "print one JSON object")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	if !(*rate > 0 && *rate <= maxRate) {
		say(t.err, "-rate must be more than 0 and at most %d\n", maxRate)
		return exitUsage
	}
	cfg, problems := Load(*path, t.environ)
	if len(problems) > 0 {
		sayError(t.err, joined(problems))
		return exitUsage
	}
	if !cfg.Directory.isDatabase() {
		sayError(t.err, errNoDatabase)
		return exitUsage
	}
	var report provisioning.Report
	err := cfg.Audit.recorded(*apply, audit.Record{Action: "reconcile"}, func() (err error) {
		report, err = cfg.reconcile(ctx, *rate, provisioning.Options{Apply: *apply, Force: *force, Progress: progress(t.err)})
		return err
	})
	all := newReconciled(report, *apply, err)
	switch {
	case report.Pages == 0: // it did not come to that
	case *asJSON:
		sayJSON(t.out, all)
	default:
		all.say(t.out)
	}
	switch {
	case errors.Is(err, store.ErrHeld):
		say(t.err, "another is at it: a replica by reconcile.every, or somebody with this command\n")
		return exitFailed
	case isDoubt(err): // which is about what was found
		sayError(t.err, err)
		return exitAmiss
	case err != nil:
		sayError(t.err, err)
		return exitFailed
	case !all.OK:
		return exitAmiss
	}
	return exitOK
}

// isDoubt reports whether a guard refuses to repair what was found.
func isDoubt(err error) bool {
	return errors.Is(err, provisioning.ErrTooManyGone) || errors.Is(err, provisioning.ErrTooManyOrphans)
}

func (c Config) reconcile(ctx context.Context, rate float64, o provisioning.Options) (r provisioning.Report, err error) {
	s, err := c.openPrepared(ctx, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	client, err := telnyx.New(c.telnyx(c.Telnyx.keys))
	if err != nil {
		return r, err
	}
	defer client.CloseIdleConnections()
	remover, err := provisioning.NewRemover(provisioning.RemoverConfig{Store: s, Telnyx: client, CallTimeout: c.Telnyx.Timeout})
	if err != nil {
		return r, err
	}
	cfg := c.reconciler(&database{store: s, background: client, remover: remover}, newHolder())
	cfg.Rate, cfg.By.Actor = rate, actor()
	reconciler, err := provisioning.NewReconciler(cfg)
	if err != nil {
		return r, err
	}
	return reconciler.Run(ctx, o)
}

// progress shows how far it is, to somebody who looks at a terminal.
func progress(w io.Writer) func(done, total int) {
	bar := progressbar.NewOptions(0, progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(isTerminal(w)),
		progressbar.OptionSetDescription("credentials at Telnyx"), progressbar.OptionShowCount(), progressbar.OptionSetItsString("credentials"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	return func(done, total int) {
		bar.ChangeMax(total)
		_ = bar.Set(done) // for somebody to look at
		if done >= total {
			_ = bar.Clear()
		}
	}
}

// reconciled is what reconcile says.
type reconciled struct {
	OK        bool         `json:"ok"` // nothing is amiss, or all was repaired
	Applied   bool         `json:"applied"`
	AtTelnyx  int          `json:"at_telnyx"`
	Recorded  int          `json:"recorded"`
	Orphans   int          `json:"orphans"`
	Young     int          `json:"young"`
	Gone      int          `json:"gone"`
	Expired   int          `json:"expired"`
	Retired   int          `json:"retired"`
	Adopted   int          `json:"adopted"`
	Queued    int          `json:"queued"`
	Left      int          `json:"left"`
	Findings  []reconFound `json:"findings"`
	Truncated bool         `json:"findings_truncated,omitempty"`
	Do        string       `json:"do,omitempty"`
}

type reconFound struct {
	Kind       provisioning.Kind `json:"kind"`
	Credential string            `json:"credential_id"`
	Name       string            `json:"name,omitempty"`
	User       string            `json:"user,omitempty"`
	Device     string            `json:"device,omitempty"`
	CreatedAt  string            `json:"created_at,omitempty"`
}

func newReconciled(r provisioning.Report, applied bool, err error) reconciled {
	applied = applied && !isDoubt(err)
	amiss := r.Left
	if !applied {
		amiss = r.Orphans + r.Gone + r.Expired
	}
	all := reconciled{
		OK: err == nil && amiss == 0, Applied: applied,
		AtTelnyx: r.AtTelnyx, Recorded: r.Recorded, Orphans: r.Orphans, Young: r.Young, Gone: r.Gone, Expired: r.Expired,
		Retired: r.Retired, Adopted: r.Adopted, Queued: r.Queued, Left: r.Left, Findings: []reconFound{}, Truncated: r.Truncated,
	}
	if !applied && amiss > 0 {
		all.Do = repair(r.Doubt)
	}
	for _, f := range r.Findings {
		all.Findings = append(all.Findings, reconFound{f.Kind, f.Credential.String(), f.Name, f.User, string(f.Device), moment(f.CreatedAt)})
	}
	return all
}

func (r reconciled) say(w io.Writer) {
	for _, f := range r.Findings {
		whose := f.Name
		if f.User != "" {
			whose = f.User + ", " + f.Device
		}
		say(w, "✗ %-8s %s  %s\n", f.Kind, f.Credential, oneLine(whose))
	}
	if r.Truncated {
		say(w, "  … and more\n")
	}
	say(w, "%s %d credentials at Telnyx: %d in the directory, %d others left alone; %d orphans, %d gone, %d expired\n",
		sign(r.OK), r.AtTelnyx, r.Recorded, r.AtTelnyx-r.Recorded-r.Orphans, r.Orphans, r.Gone, r.Expired)
	if r.Young > 0 {
		say(w, "  %d of the others bear this instance's name, and may be about to be written down\n", r.Young)
	}
	if r.Applied {
		say(w, "  %d taken out of the directory, %d given back to their users, %d to be deleted at Telnyx (%d still waiting)\n", r.Retired, r.Adopted, r.Queued, r.Left)
	}
	if r.Do != "" {
		say(w, "  do: %s\n", r.Do)
	}
}

// repair is how to repair what was found, and what to look at before.
func repair(doubt error) string {
	const force = "tokensvc reconcile -apply -force repairs this"
	switch {
	case errors.Is(doubt, provisioning.ErrTooManyGone):
		return "see that the API key is of the account that the directory's credentials are in; if it is, " + force
	case errors.Is(doubt, provisioning.ErrTooManyOrphans):
		return "see that directory is the right database, and that no other service on the account has this provision.instance; if so, " + force
	}
	return "tokensvc reconcile -apply repairs this"
}
