package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	devClientID = "tokensvc-softphone" // what the softphone is called at the issuer
	devScope    = "openid"

	// devReadyAfter is how long a new credential is not usable. Telnyx's documents
	// say about 5 s, which is long for somebody who waits to see what happens.
	devReadyAfter = 2 * time.Second
)

// world is everything around the service, and the folder that it keeps its things
// in until it ends.
type world struct {
	flags  devFlags
	folder string
	page   net.Listener
	telnyx *telnyxtest.Server
	issuer *oidctest.Issuer
}

func startWorld(ctx context.Context, d devFlags) (*world, error) {
	if err := d.clashes(ctx); err != nil {
		return nil, err
	}
	w := &world{flags: d}
	if err := w.start(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) start(ctx context.Context) (err error) {
	if w.folder, err = os.MkdirTemp("", "tokensvc-dev-"); err != nil {
		return err
	}
	if err := os.WriteFile(w.adminToken(), []byte(rand.Text()+rand.Text()), 0o600); err != nil {
		return err
	}
	if w.page, err = listenOn(ctx, w.flags.page); err != nil {
		return w.flags.clash("page-listen", err)
	}
	w.telnyx, err = telnyxtest.Start(telnyxtest.Options{Addr: w.flags.telnyx, NewCredentialDelay: devReadyAfter})
	if err != nil {
		return w.flags.clash("telnyx-listen", whyNot(err))
	}
	employ(w.telnyx)
	w.issuer, err = oidctest.Start(oidctest.Options{
		Addr: w.flags.issuer, Audience: devAudience, People: claims(), Shows: shows(),
		ClientID: devClientID, Redirects: []string{w.pageURL() + "/"},
	})
	if err != nil {
		return w.flags.clash("issuer-listen", whyNot(err))
	}
	return nil
}

func (w *world) close() {
	if w.issuer != nil {
		w.issuer.Close()
	}
	if w.telnyx != nil {
		w.telnyx.Close()
	}
	if w.page != nil {
		_ = w.page.Close()
	}
	_ = os.RemoveAll(w.folder) // what is left of it is in a folder for such things
}

func (w *world) pageURL() string    { return "http://" + w.page.Addr().String() }
func (w *world) records() string    { return filepath.Join(w.folder, "audit.jsonl") }
func (w *world) adminToken() string { return filepath.Join(w.folder, "admin.token") }

// variables configure a service of this world, as anybody would.
func (w *world) variables(listen, ops string) []string {
	return []string{
		"TELNYX_API_KEY=" + telnyxtest.DefaultAPIKey,
		"TELNYX_BASE_URL=" + w.telnyx.URL(),
		"TOKENSVC_LISTEN=" + listen,
		"TOKENSVC_OPS_LISTEN=" + ops,
		"TOKENSVC_OIDC_ISSUER=" + w.issuer.URL(),
		"TOKENSVC_OIDC_AUDIENCE=" + devAudience,
		"TOKENSVC_OIDC_REQUIRE={groups: [agents]}",
		"TOKENSVC_DIRECTORY=claim:" + devClaim,
	}
}

// own are the variables of dev's own service, whose directory can be changed, so
// that somebody can be offboarded. Who comes back is given a new credential.
func (w *world) own() []string {
	origins := w.pageURL()
	if w.flags.origins != "" {
		origins += "," + w.flags.origins
	}
	return append(w.variables(w.flags.listen, w.flags.ops),
		"TOKENSVC_CORS_ORIGINS="+origins,
		"TOKENSVC_DIRECTORY=sqlite:"+filepath.Join(w.folder, "people.db"),
		"TOKENSVC_PROVISION_CONNECTION_ID=1234567890",
		"TOKENSVC_PROVISION_INSTANCE=dev",
		"TOKENSVC_PROVISION_USERS=listed",
		"TOKENSVC_PROVISION_READY_AFTER="+devReadyAfter.String(),
		"TOKENSVC_ADMIN_TOKEN_FILE="+w.adminToken(),
		"TOKENSVC_AUDIT_FILE="+w.records(),
	)
}

func (w *world) serve(ctx context.Context, t terminal) error {
	cfg, problems := Load("", w.own())
	if len(problems) > 0 {
		return joined(problems)
	}
	log, end := newLog(cfg.Log, t.err)
	defer end()
	if err := enroll(ctx, cfg); err != nil {
		return err
	}
	s, err := newService(cfg, log, t.out)
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	err = s.listen(ctx)
	if failed, ok := errors.AsType[*listenError](err); ok {
		return w.flags.clash(strings.ReplaceAll(failed.setting, "_", "-"), failed.why)
	}
	if err != nil {
		return err
	}
	page, err := w.newPage(s)
	if err != nil {
		return err
	}
	w.welcome(t.out, urlOf(s.callers[0]), urlOf(s.operators))
	return errors.Join(page.beside(ctx, s.run), page.close())
}

func urlOf(l *listener) string { return "http://" + l.addr() }

// welcome says what runs where, and what to paste.
func (w *world) welcome(out io.Writer, service, ops string) {
	say(out, "tokensvc dev: all of it is on this machine, and nobody in it is real.\n\n")
	say(out, "  page     %-28s open it: a softphone that signs in and registers\n", w.pageURL())
	say(out, "  service  %-28s POST /v1/token, GET /v1/whoami, /openapi.yaml\n", service)
	say(out, "  ops      %-28s GET /livez, /readyz, /metrics\n", ops)
	say(out, "  issuer   %-28s GET /bearer/alice\n", w.issuer.URL())
	say(out, "  telnyx   %-28s an emulator\n", w.telnyx.URL())
	if missing := w.flags.sdkMissing(); missing != "" {
		say(out, "\nThe softphone gets tokens, but cannot register. %s\n", missing)
	}
	for _, p := range people {
		say(out, "\n%s %s\n", p.name, p.shows)
		say(out, "  curl -sS -X POST %s/v1/token -H \"Authorization: Bearer $(curl -sS %s/bearer/%s)\"\n", service, w.issuer.URL(), p.name)
	}
	say(out, "\nA fresh bearer, for scripts:  %s dev token%s alice\n", os.Args[0], w.tokenFlag())
	say(out, "The people, and what may be done with them:  %s users list -server %s -token-file %s\n", os.Args[0], ops, w.adminToken())
	say(out, "What is decided, a line each:  %s\n", w.records())
	say(out, "\nTo run `tokensvc serve` against these:\n")
	for _, v := range w.variables("127.0.0.1:0", "127.0.0.1:0") {
		name, value, _ := strings.Cut(v, "=")
		say(out, "  export %s='%s'\n", name, value)
	}
	say(out, "\nStop with Ctrl-C.\n\n")
}

// tokenFlag is what `dev token` must be told to find this issuer.
func (w *world) tokenFlag() string {
	if w.issuer.Addr() == devIssuerListen {
		return ""
	}
	return " -issuer " + w.issuer.URL()
}

// sdkMissing says what to do if Telnyx's SDK is not there. It may come while dev runs.
func (d *devFlags) sdkMissing() string {
	if info, err := os.Stat(d.sdk); err == nil && info.Mode().IsRegular() {
		return ""
	}
	return fmt.Sprintf("Telnyx's SDK is not at %s: with Node, `npm ci --prefix web/demo` in a checkout of tokensvc fetches it; elsewhere -sdk says where it is.", d.sdk)
}
