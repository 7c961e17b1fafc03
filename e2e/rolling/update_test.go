package rolling_test

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

// Another version comes in the place of one, replica by replica, as a cluster or
// a script does it: start the new one, wait until it is ready, tell the old one
// to stop. People log in meanwhile, half of them for the first time, for whom a
// credential is made at Telnyx.
func TestAnUpdateLosesNoRequest(t *testing.T) {
	t.Parallel()
	update(t, newWorld(t))
}

// Nor does it where the balancer has one connection for many requests at once,
// which each replica must end when none of them is left.
func TestAnUpdateOverTLSAndHTTP2LosesNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secure(t)
	update(t, w)
	if got := w.balancer.protocol.Load(); got != 2 {
		t.Errorf("the replicas answered over HTTP/%d", got)
	}
}

func update(t *testing.T, w *world) {
	t.Helper()
	w.env["TOKENSVC_DIRECTORY"] = pgtest.StartT(t).NewDatabase(t)
	w.env["TOKENSVC_PROVISION_CONNECTION_ID"] = "1234567890"
	w.env["TOKENSVC_PROVISION_INSTANCE"] = "rolling"
	w.env["TOKENSVC_PROVISION_READY_AFTER"] = "0s"
	w.migrate(t)
	olds := []*replica{w.start(t, oldVersion), w.start(t, oldVersion)}
	c := w.gather(t, nil)

	for _, old := range olds {
		w.wantVersion(t, old, oldVersion)
		w.wantVersion(t, w.start(t, newVersion), newVersion)
		c.moveOn(t) // with both versions at work
		old.Signal(t, syscall.SIGTERM)
		if err := old.AwaitExit(t); err != nil {
			t.Errorf("the old version: %v, want exit status 0", err)
		}
		c.moveOn(t)
	}

	answered, issued := c.leave(t), 0
	for i, r := range w.replicas {
		r.Stop(t) // a running one writes its log a moment after it has answered
		n := r.issued()
		if n < settled/2 {
			t.Errorf("replica %d has handed over %d tokens: it hardly took part", i+1, n)
		}
		issued += n
	}
	if issued != answered {
		t.Errorf("%d tokens were handed over and %d received", issued, answered)
	}
	if made := len(w.telnyx.Credentials()); made != len(c.owners) {
		t.Errorf("%d people have %d credentials", len(c.owners), made)
	}
}

// migrate prepares the directory for the new version, which the old one must be
// able to live with.
func (w *world) migrate(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binaries[newVersion], "migrate")
	for name, value := range w.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tokensvc migrate: %v\n%s", err, out)
	}
}

// wantVersion wants a replica to say which version it is.
func (w *world) wantVersion(t *testing.T, r *replica, version string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.balancer.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(metrics), `version="`+version+`"`) {
		t.Errorf("the metrics do not say version %s (%v)", version, err)
	}
}
