package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func (w *world) reconciler(change ...func(*provisioning.ReconcilerConfig)) *provisioning.Reconciler {
	w.t.Helper()
	cfg := provisioning.ReconcilerConfig{
		Store: w.books, Telnyx: w.client(), Remover: w.remover(), Instance: instance, ConnectionID: connection,
		Holder: "reconciler", Rate: 1e6, Now: w.now,
	}
	for _, c := range change {
		c(&cfg)
	}
	r, err := provisioning.NewReconciler(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

var apply = provisioning.Options{Apply: true}

// reconcile runs a reconciliation that has to succeed.
func (w *world) reconcile(o provisioning.Options) provisioning.Report {
	w.t.Helper()
	report, err := w.reconciler().Run(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// orphan is a credential under the name of a user's device, in no books.
func (w *world) orphan(user string) telnyx.CredentialID {
	return w.byHand(telnyxtest.Credential{Name: provisioning.Name(instance, user, phone), ConnectionID: connection})
}

func (w *world) isThere(id telnyx.CredentialID) bool {
	_, err := w.client().Credential(w.t.Context(), id)
	return err == nil
}

func TestWhatAReconciliationFindsAndDoes(t *testing.T) {
	w := newWorld(t)
	kept, byHand := w.mustFind(w.finder(), alice, phone), w.assign("main:bob", phone)
	gone, expired := w.assign("main:carol", phone), w.assign("main:dave", phone)
	w.telnyx.RemoveCredential(gone.String())
	w.telnyx.ExpireCredential(expired.String())
	w.assign("main:erin", phone)
	w.disable("main:erin") // is being deleted
	orphan := w.orphan("main:frank")
	foreign := []telnyx.CredentialID{
		w.byHand(telnyxtest.Credential{Name: "tokensvc:"}),
		w.byHand(telnyxtest.Credential{Name: "tokensvc:test:by hand"}),
		w.byHand(telnyxtest.Credential{Name: provisioning.Name("test2", alice, phone)}),
		w.byHand(telnyxtest.Credential{Name: " " + provisioning.Name(instance, alice, phone)}),
		w.byHand(telnyxtest.Credential{Name: provisioning.Name(instance, alice, phone) + "a"}),
		w.byHand(telnyxtest.Credential{Name: strings.ToUpper(provisioning.Name(instance, alice, phone))}),
	}
	w.advance(time.Hour)
	young := w.orphan("main:george")
	w.advance(time.Minute)

	var told []int
	report := w.reconcile(provisioning.Options{Progress: func(done, total int) { told = append(told, done, total) }})
	kinds := map[provisioning.Kind]telnyx.CredentialID{}
	for _, f := range report.Findings {
		kinds[f.Kind] = f.Credential
	}
	if report.Pages != 1 || report.AtTelnyx != 12 || report.Recorded != 3 || report.Orphans != 1 || report.Gone != 1 || report.Expired != 1 ||
		report.Young != 1 || report.Doubt != nil || report.Retired+report.Adopted+report.Queued != 0 || len(report.Findings) != 3 {
		t.Errorf("the report is %+v", report)
	}
	if kinds[provisioning.Orphan] != orphan || kinds[provisioning.Gone] != gone || kinds[provisioning.Expired] != expired {
		t.Errorf("the findings are %+v", report.Findings)
	}
	if fmt.Sprint(told) != "[12 12]" {
		t.Errorf("the progress is %v", told)
	}
	w.wantAtTelnyx(12)
	if w.deletions() != 1 {
		t.Error("a report has changed the books")
	}

	report = w.reconcile(apply)
	if report.Retired != 2 || report.Young != 1 || report.Queued != 2 || report.Gone != 1 || report.Left != 0 {
		t.Errorf("the report is %+v", report)
	}
	for _, id := range append(foreign, kept, byHand, young) {
		if !w.isThere(id) {
			t.Errorf("%v has been deleted", id)
		}
	}
	w.wantAtTelnyx(9)
	w.wantError(w.finder(withoutProvisioning), "main:carol", phone, directory.ErrNoCredential)
	w.wantError(w.finder(withoutProvisioning), "main:dave", phone, directory.ErrNoCredential)
	if again := w.reconcile(apply); again.Orphans+again.Gone+again.Expired > 0 {
		t.Errorf("a second one finds %+v", again)
	}
}

// crash leaves a credential at Telnyx, and an intent, as a process does that dies
// before it has written down what it has made.
func (w *world) crash(user string) {
	w.t.Helper()
	dying := w.open()
	f := w.finder(func(c *provisioning.Config) { c.Store = dying })
	requests := w.telnyx.Requests(telnyxtest.Create)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond, Times: 1})
	died := make(chan error)
	go func() {
		_, err := w.find(f, user, phone)
		died <- err
	}()
	until(w.t, "the making", func() bool { return w.telnyx.Requests(telnyxtest.Create) > requests })
	dying.Close()
	<-died
}

func TestWhatACrashLeavesIsGivenToWhomItWasMadeFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, user := range []string{alice, "main:disabled", "main:removed", "main:has"} {
		w.put(user)
		w.crash(user)
	}
	w.crash("main:stranger")
	w.disable("main:disabled")
	if err := w.books.Remove(t.Context(), byTest, "main:removed", false, store.Match{}); err != nil {
		t.Fatal(err)
	}
	own := w.assign("main:has", phone)
	if report := w.reconcile(apply); report.Orphans != 0 || report.Young != 5 {
		t.Errorf("what is being made is an orphan: %+v", report)
	}
	w.advance(time.Hour)
	report := w.reconcile(apply)
	if report.Orphans != 5 || report.Adopted != 1 || report.Queued != 4 || report.Left != 0 {
		t.Errorf("the report is %+v", report)
	}
	w.mustFind(w.finder(withoutProvisioning), alice, phone)
	if w.mustFind(w.finder(withoutProvisioning), "main:has", phone) != own {
		t.Error("what somebody has was replaced")
	}
	w.wantAtTelnyx(2)
}

func TestOneThatIsMissedByThePagesIsNotGone(t *testing.T) {
	w := newWorld(t)
	w.assign("main:there", phone)
	id := w.assign(alice, phone)
	w.inject(telnyxtest.Fault{Op: telnyxtest.List, Status: 200, Shape: telnyxtest.NoErrors, Times: 1})
	if _, err := w.reconciler().Run(t.Context(), apply); !errors.Is(err, telnyx.ErrBadAnswer) {
		t.Errorf("an answer without a page: %v", err)
	}
	w.inject(telnyxtest.Fault{Op: telnyxtest.Get, Status: 403})
	if report := w.reconcile(apply); report.Gone != 0 {
		t.Errorf("the report is %+v", report)
	}
	w.telnyx.RemoveCredential(id.String())
	if report, err := w.reconciler().Run(t.Context(), apply); !errors.Is(err, telnyx.ErrKeyRejected) || report.Gone != 0 {
		t.Errorf("without being sure: %+v, %v", report, err)
	}
	if _, err := w.books.Credential(t.Context(), id); err != nil {
		t.Error("it was taken out of the books")
	}
}

func TestAnotherAccountIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []telnyx.CredentialID
	for i := range 100 {
		all = append(all, w.assign(fmt.Sprintf("main:%d", i), phone))
	}
	for _, id := range all[:10] {
		w.telnyx.RemoveCredential(id.String())
	}
	if report := w.reconcile(apply); report.Gone != 10 {
		t.Errorf("a tenth: %+v", report)
	}
	for _, id := range all[10:21] {
		w.telnyx.RemoveCredential(id.String())
	}
	orphan := w.orphan("main:x")
	w.advance(time.Hour)
	if report := w.reconcile(provisioning.Options{}); report.Gone != 11 || len(report.Findings) != 12 || !errors.Is(report.Doubt, provisioning.ErrTooManyGone) {
		t.Errorf("without applying it: %+v", report)
	}
	report, err := w.reconciler().Run(t.Context(), apply)
	if !errors.Is(err, provisioning.ErrTooManyGone) || !strings.HasPrefix(fmt.Sprint(err), "11 of 90 records ") || report.Gone != 11 || report.Retired != 0 {
		t.Errorf("more than a tenth: %+v, %v", report, err)
	}
	if counts, _ := w.books.Counts(t.Context()); counts.Credentials != 90 || !w.isThere(orphan) {
		t.Error("something was changed all the same")
	}
	if report := w.reconcile(provisioning.Options{Apply: true, Force: true}); report.Gone != 11 || report.Retired != 11 || report.Queued != 1 {
		t.Errorf("with force: %+v", report)
	}
}

func TestOtherBooksAreNotBelieved(t *testing.T) {
	const records = 100
	w := newWorld(t)
	for i := range records {
		w.assign(fmt.Sprintf("main:%d", i), phone)
	}
	for i := range 11 { // more than a tenth
		w.orphan(fmt.Sprint(i))
	}
	w.advance(time.Hour)
	if report := w.reconcile(provisioning.Options{}); !errors.Is(report.Doubt, provisioning.ErrTooManyOrphans) {
		t.Errorf("without applying it: %v", report.Doubt)
	}
	if _, err := w.reconciler().Run(t.Context(), apply); !errors.Is(err, provisioning.ErrTooManyOrphans) || !strings.HasPrefix(err.Error(), "11 orphans at Telnyx, and 100 records") {
		t.Errorf("got %v", err)
	}
	w.wantAtTelnyx(records + 11)
	if report := w.reconcile(provisioning.Options{Apply: true, Force: true}); report.Queued != 11 {
		t.Errorf("with force: %+v", report)
	}
	w.wantAtTelnyx(records)
}

func TestARateLimitDelaysAReconciliation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assign(alice, phone)
	w.inject(telnyxtest.Fault{Op: telnyxtest.List, Status: 429, RetryAfter: "1", Times: 2}) // longer than a call may take
	r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Telnyx = w.impatient() })
	began := time.Now()
	if _, err := r.Run(t.Context(), apply); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it took %v, want 2 s", took)
	}
}

func TestAReconciliationKeepsItsPace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 1001 {
		w.byHand(telnyxtest.Credential{})
	}
	r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Rate = 10 })
	began := time.Now()
	if report, err := r.Run(t.Context(), apply); err != nil || report.Pages != 5 || report.AtTelnyx != 1001 {
		t.Errorf("%+v, %v", report, err)
	}
	if took := time.Since(began); took < 390*time.Millisecond {
		t.Errorf("5 calls took %v, want 10 a second", took)
	}
}

func TestOneReconciliationAtATime(t *testing.T) {
	w := newWorld(t)
	w.inject(telnyxtest.Fault{Op: telnyxtest.List, Shape: telnyxtest.Hang})
	r := w.reconciler()
	ctx, stop := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := r.Run(ctx, apply); !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
	})
	until(t, "the first", func() bool { return w.telnyx.Requests(telnyxtest.List) > 0 })
	for name, other := range map[string]*provisioning.Reconciler{
		"the same": r, "another": w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Holder = "another" }),
	} {
		if _, err := other.Run(t.Context(), apply); !errors.Is(err, store.ErrHeld) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop()
	first.Wait()
	w.telnyx.ClearFaults()
	if _, err := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Holder = "another" }).Run(t.Context(), apply); err != nil {
		t.Errorf("after it has stopped: %v", err)
	}
}

func TestOneReplicaReconcilesOnSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	var runs atomic.Int32
	var all sync.WaitGroup
	for _, holder := range []string{"first", "second", "third"} {
		other := w.open()
		r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Store, c.Holder = other, holder })
		all.Go(func() {
			r.Schedule(ctx, 2*time.Second, apply, func(_ provisioning.Report, err error) {
				if err == nil {
					runs.Add(1)
				}
			})
		})
	}
	until(t, "the first run", func() bool { return runs.Load() > 0 })
	until(t, "the second run", func() bool { return runs.Load() > 1 })
	if n := w.telnyx.Requests(telnyxtest.List); n > 2 {
		t.Errorf("%d runs, want 2", n)
	}
	stop()
	all.Wait()
}

func TestAScheduledReconciliationThatTheBooksPreventIsToldOf(t *testing.T) {
	w := newWorld(t)
	r := w.reconciler()
	w.books.Close()
	ctx, stop := context.WithCancel(t.Context())
	var told error
	r.Schedule(ctx, time.Hour, apply, func(_ provisioning.Report, err error) {
		told = err
		stop()
	})
	if !errors.Is(told, directory.ErrUnavailable) || w.telnyx.Requests(telnyxtest.List) > 0 {
		t.Errorf("told %v, %d calls", told, w.telnyx.Requests(telnyxtest.List))
	}
}

// account fills the account with so many credentials: a fifth is in the books, and
// 1,500 are orphans.
func (w *world) account(all int) {
	w.t.Helper()
	imported, err := w.books.BeginImport(w.t.Context(), byTest, store.ImportAtomic)
	if err != nil {
		w.t.Fatal(err)
	}
	var rows []store.Row
	for i := range all {
		name, recorded := "", i < all/5
		if !recorded && i < all/5+1500 {
			name = provisioning.Name(instance, fmt.Sprint(i), phone)
		}
		id := w.byHand(telnyxtest.Credential{Name: name, ConnectionID: connection})
		if recorded {
			rows = append(rows, store.Row{Line: i + 1, User: fmt.Sprintf("main:%d", i), Device: phone, Credential: id})
		}
		if len(rows) < 1000 && i != all/5 {
			continue
		}
		if _, err := imported.Add(w.t.Context(), rows); err != nil {
			w.t.Fatal(err)
		}
		rows = rows[:0]
	}
	if err := imported.End(w.t.Context(), true); err != nil {
		w.t.Fatal(err)
	}
}

// grown is by how many bytes the heap grows at most in a reconciliation.
func (w *world) grown(look func(provisioning.Report)) int64 {
	w.t.Helper()
	w.advance(time.Hour)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most, pages := heap(), int64(0), 0
	look(w.reconcile(provisioning.Options{Progress: func(int, int) {
		if pages++; pages%25 == 0 {
			most = max(most, heap())
		}
	}}))
	return most - before
}

func TestALargeAccountIsNeverHeldInMemory(t *testing.T) {
	w := newWorld(t)
	w.account(10_000)
	grown := w.grown(func(r provisioning.Report) {
		if r.AtTelnyx != 10_000 || r.Recorded != 2000 || r.Orphans != 1500 || len(r.Findings) != 1000 || !r.Truncated || r.Gone != 0 {
			r.Findings = nil
			t.Errorf("the report is %+v", r)
		}
	})
	if grown > 2<<20 { // all of them would take three times as much
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
}

func BenchmarkReconcileAHundredThousand(b *testing.B) {
	w := newWorld(b)
	w.account(100_000)
	b.ResetTimer()
	for range b.N {
		b.ReportMetric(float64(w.grown(func(provisioning.Report) {})>>10), "KiB-of-heap")
	}
}

func TestWhoeverDoesNotComeBackLeavesNoOrphan(t *testing.T) {
	for name, fault := range map[string]telnyxtest.Fault{
		"an error":  {Status: 500},
		"no answer": {Shape: telnyxtest.Hang},
		"reset":     {Shape: telnyxtest.Reset},
		"a page":    {Shape: telnyxtest.HTML, Status: 201},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, known %v", name, known), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				if known {
					w.put(alice)
				}
				fault.Op, fault.After = telnyxtest.Create, true
				w.inject(fault)
				f := w.finder(func(c *provisioning.Config) { c.Telnyx = w.impatient() })
				if _, err := w.find(f, alice, phone); err == nil {
					t.Error("it gave one")
				}
				w.telnyx.ClearFaults()
				w.advance(time.Hour)
				report := w.reconcile(apply)
				if report.Orphans != 1 || report.Adopted+report.Queued != 1 || (report.Adopted == 1) != known || report.Left != 0 {
					t.Errorf("the report is %+v", report)
				}
				w.wantAtTelnyx(report.Adopted)
				w.mustFind(w.finder(), alice, phone)
				w.wantAtTelnyx(1)
			})
		}
	}
}
