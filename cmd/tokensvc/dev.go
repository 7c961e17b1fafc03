package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// What `tokensvc dev` runs when it is told nothing else.
const (
	devListen       = "127.0.0.1:8080"
	devOpsListen    = "127.0.0.1:9090"
	devIssuerListen = "127.0.0.1:8081"
	devTelnyxListen = "127.0.0.1:8082"
	devOrigins      = "http://localhost:3000,http://127.0.0.1:3000,http://localhost:5173,http://127.0.0.1:5173"

	devAudience = "softphone"
	devClaim    = "telnyx_credential"
)

// person is somebody made up who shows one outcome.
type person struct {
	name       string
	shows      string
	group      string
	credential string // UUID, or empty
	known      bool   // at Telnyx
}

var people = []person{
	{"alice", "gets a token", "agents", "11111111-aaaa-4aaa-8aaa-000000000001", true},
	{"bob", "has no credential: no_credential", "agents", "", false},
	{"carol", "is refused by a rule: denied", "visitors", "33333333-cccc-4ccc-8ccc-000000000003", true},
	{"dave", "has a credential that Telnyx does not accept: credential_rejected", "agents", "44444444-dddd-4ddd-8ddd-000000000004", false},
}

// devFlags are where everything listens.
type devFlags struct{ listen, ops, issuer, telnyx, origins string }

// devPart is one of the things that listen.
type devPart struct {
	flag    string
	what    string
	address *string
}

func (d *devFlags) parts() []devPart {
	return []devPart{
		{"listen", "the service", &d.listen},
		{"ops-listen", "health and metrics", &d.ops},
		{"issuer-listen", "the issuer", &d.issuer},
		{"telnyx-listen", "Telnyx emulator", &d.telnyx},
	}
}

func (d *devFlags) parse(t terminal, args []string) (status int, ok bool) {
	flags := newFlags("dev", t, "[-listen ADDRESS] …\n       tokensvc dev token [-issuer URL] NAME",
		"Runs the service with a made-up Telnyx and a made-up issuer, on loopback.\n`dev token` prints a fresh bearer of one of its people: "+names()+".")
	flags.StringVar(&d.listen, "listen", devListen, "the service's `address`")
	flags.StringVar(&d.ops, "ops-listen", devOpsListen, "the `address` for health and metrics")
	flags.StringVar(&d.issuer, "issuer-listen", devIssuerListen, "the `address` of the issuer")
	flags.StringVar(&d.telnyx, "telnyx-listen", devTelnyxListen, "the `address` of the Telnyx emulator")
	flags.StringVar(&d.origins, "cors-origins", devOrigins, "`origins` that browsers may call from")
	if len(args) > 0 && nearest(args[0], []string{"token"}) != "" {
		say(t.err, "did you mean tokensvc dev token NAME?\n")
		return exitUsage, false
	}
	if status, ok := parse(flags, args); !ok {
		return status, false
	}
	if err := d.check(); err != nil {
		sayError(t.err, err)
		return exitUsage, false
	}
	return exitOK, true
}

func (d *devFlags) check() error {
	for _, p := range d.parts() {
		address, ok := loopback(*p.address)
		if !ok {
			return fmt.Errorf("-%s must be a loopback address and a port, like 127.0.0.1:0 for a free one: dev's people are anybody who asks", p.flag)
		}
		*p.address = address
	}
	if flaw := flawOf(asOrigins(new([]string)), d.origins); flaw != "" && d.origins != "" {
		return fmt.Errorf("-cors-origins %s", flaw)
	}
	return nil
}

// loopback returns the address with a number for localhost, if it is one that
// only this machine reaches.
func loopback(address string) (string, bool) {
	if port, ok := strings.CutPrefix(address, "localhost:"); ok {
		address = "127.0.0.1:" + port
	}
	at, err := netip.ParseAddrPort(address)
	return address, err == nil && at.Addr().IsLoopback()
}

// clash says why a part cannot listen, and what to do.
func (d *devFlags) clash(flag string, why error) error {
	for _, p := range d.parts() {
		if p.flag != flag {
			continue
		}
		state := "cannot be listened on"
		if errors.Is(why, errTaken) {
			state = "is taken"
		}
		return fmt.Errorf("%s %s (%s): choose another with -%s 127.0.0.1:0", *p.address, state, p.what, p.flag)
	}
	return why
}

// dev is `tokensvc dev`: the real service between an emulated Telnyx and an
// issuer of made-up people.
func dev(ctx context.Context, t terminal, args []string) int {
	if len(args) > 0 && args[0] == "token" {
		return devToken(ctx, t, args[1:])
	}
	var d devFlags
	if status, ok := d.parse(t, args); !ok {
		return status
	}
	for _, entry := range t.environ {
		name, value, _ := strings.Cut(entry, "=")
		if (name == "TELNYX_API_KEY" || name == "TELNYX_API_KEY_FILE") && value != "" {
			say(t.err, "%s is set, and dev must never come near a real key: unset %s\n", name, name)
			return exitUsage
		}
	}
	world, err := startWorld(d)
	if err != nil {
		sayError(t.err, err)
		return exitFailed
	}
	defer world.close()
	if err := world.serve(ctx, t); err != nil {
		sayError(t.err, err)
		return exitFailed
	}
	return exitOK
}

// world is everything around the service.
type world struct {
	flags  devFlags
	telnyx *telnyxtest.Server
	issuer *oidctest.Issuer
}

func startWorld(d devFlags) (*world, error) {
	telnyx, err := telnyxtest.Start(telnyxtest.Options{Addr: d.telnyx})
	if err != nil {
		return nil, d.clash("telnyx-listen", whyNot(err))
	}
	claims := make(map[string]map[string]any)
	for _, p := range people {
		claims[p.name] = map[string]any{"groups": []string{p.group}}
		if p.credential != "" {
			claims[p.name][devClaim] = p.credential
		}
		if p.known {
			telnyx.AddCredential(telnyxtest.Credential{ID: p.credential, Name: "dev:" + p.name})
		}
	}
	issuer, err := oidctest.Start(oidctest.Options{Addr: d.issuer, Audience: devAudience, People: claims})
	if err != nil {
		telnyx.Close()
		return nil, d.clash("issuer-listen", whyNot(err))
	}
	return &world{d, telnyx, issuer}, nil
}

func (w *world) close() {
	w.issuer.Close()
	w.telnyx.Close()
}

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

func (w *world) serve(ctx context.Context, t terminal) error {
	cfg, problems := Load("", append(w.variables(w.flags.listen, w.flags.ops), "TOKENSVC_CORS_ORIGINS="+w.flags.origins))
	if len(problems) > 0 {
		return joined(problems)
	}
	log, end := newLog(cfg.Log, t.err)
	defer end()
	s, err := newService(cfg, log)
	if err != nil {
		return err
	}
	err = s.listen(ctx)
	if failed, ok := errors.AsType[*listenError](err); ok {
		return w.flags.clash(strings.ReplaceAll(failed.setting, "_", "-"), failed.why)
	}
	if err != nil {
		return err
	}
	w.welcome(t.out, "http://"+s.callers[0].addr(), "http://"+s.operators.addr())
	return s.run(ctx)
}

// welcome says what runs where, and what to paste.
func (w *world) welcome(out io.Writer, service, ops string) {
	say(out, "tokensvc dev: all of it is on this machine, and nobody in it is real.\n\n")
	say(out, "  service  %-28s POST /v1/token, GET /v1/whoami, /openapi.yaml\n", service)
	say(out, "  ops      %-28s GET /livez, /readyz, /metrics\n", ops)
	say(out, "  issuer   %-28s GET /bearer/alice\n", w.issuer.URL())
	say(out, "  telnyx   %-28s an emulator\n", w.telnyx.URL())
	for _, p := range people {
		say(out, "\n%s %s\n", p.name, p.shows)
		say(out, "  curl -sS -X POST %s/v1/token -H \"Authorization: Bearer $(curl -sS %s/bearer/%s)\"\n", service, w.issuer.URL(), p.name)
	}
	say(out, "\nA fresh bearer, for scripts:  %s dev token%s alice\n", os.Args[0], w.tokenFlag())
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

// names lists dev's people.
func names() string {
	var all []string
	for _, p := range people {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

// devToken is `tokensvc dev token NAME`: a fresh bearer, from a running dev.
func devToken(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("dev token", t, "[-issuer URL] NAME", "Prints a fresh bearer of one of the running dev's people: "+names()+".")
	issuer := flags.String("issuer", "http://"+devIssuerListen, "`URL` of the running dev's issuer")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 1 && strings.HasPrefix(flags.Arg(1), "-"):
		say(t.err, "flags go before the name: tokensvc dev token [-issuer URL] NAME\n")
		return exitUsage
	case flags.NArg() != 1:
		say(t.err, "one name is wanted: %s\nusage: tokensvc dev token [-issuer URL] NAME\n", names())
		return exitUsage
	case !isWebAddress(*issuer):
		say(t.err, "-issuer must be a URL, like http://%s\n", devIssuerListen)
		return exitUsage
	}
	bearer, err := fetchBearer(ctx, *issuer, flags.Arg(0))
	if err != nil {
		sayError(t.err, err)
		return exitFailed
	}
	say(t.out, "%s\n", bearer)
	return exitOK
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func fetchBearer(ctx context.Context, issuer, name string) (string, error) {
	status, body, err := get(ctx, strings.TrimSuffix(issuer, "/")+"/bearer/"+url.PathEscape(name))
	switch refused := (*net.OpError)(nil); {
	case errors.As(err, &refused):
		return "", fmt.Errorf("nobody answers at %s: is `tokensvc dev` running there?", issuer)
	case err != nil:
		return "", err
	case status == http.StatusNotFound:
		return "", fmt.Errorf("%s: there are %s", body, names())
	case status != http.StatusOK:
		return "", errors.New(body)
	}
	return body, nil
}
