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
	"regexp"
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
	devOrigins      = "http://localhost:3000,http://localhost:5173"

	devAudience = "softphone"
	devKey      = "KEY-of-the-emulator"
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

func (d *devFlags) parse(t terminal, args []string) (status int, ok bool) {
	flags := newFlags("dev", t)
	flags.StringVar(&d.listen, "listen", devListen, "the service's `address`")
	flags.StringVar(&d.ops, "ops-listen", devOpsListen, "the `address` for health and metrics")
	flags.StringVar(&d.issuer, "issuer-listen", devIssuerListen, "the `address` of the issuer")
	flags.StringVar(&d.telnyx, "telnyx-listen", devTelnyxListen, "the `address` of the Telnyx emulator")
	flags.StringVar(&d.origins, "cors-origins", devOrigins, "`origins` that browsers may call from")
	flags.Usage = func() {
		say(t.err, "tokensvc dev runs the service with a made-up Telnyx and a made-up issuer, on loopback.\ntokensvc dev token NAME prints a fresh bearer of one of its people.\n\n")
		flags.PrintDefaults()
	}
	if status, ok := parse(flags, args); !ok {
		return status, false
	}
	for _, address := range []string{d.listen, d.ops, d.issuer, d.telnyx} {
		if !isLoopback(address) {
			say(t.err, "dev listens on loopback addresses only, like 127.0.0.1:8080: its people are anybody who asks\n")
			return exitUsage, false
		}
	}
	return exitOK, true
}

func isLoopback(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().IsLoopback()
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
	if hasRealKey(t.environ) {
		say(t.err, "a Telnyx API key is in the environment, and dev must never come near one: unset TELNYX_API_KEY and TELNYX_API_KEY_FILE\n")
		return exitUsage
	}
	world, err := startWorld(d)
	if err != nil {
		say(t.err, "%v\nAnother address can be chosen: tokensvc dev -h\n", err)
		return exitFailed
	}
	defer world.close()
	if err := world.serve(ctx, t); err != nil {
		say(t.err, "%v\n", err)
		return exitFailed
	}
	return exitOK
}

// realKey is what Telnyx's API keys look like.
var realKey = regexp.MustCompile(`^KEY[0-9A-Za-z_]{20,}$`)

// hasRealKey reports whether the environment holds a key of Telnyx's or names a
// file for one.
func hasRealKey(environ []string) bool {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "TELNYX_API_KEY":
			if realKey.MatchString(strings.TrimSpace(value)) {
				return true
			}
		case "TELNYX_API_KEY_FILE":
			if value != "" {
				return true
			}
		}
	}
	return false
}

// world is everything around the service.
type world struct {
	flags  devFlags
	telnyx *telnyxtest.Server
	issuer *oidctest.Issuer
}

func startWorld(d devFlags) (*world, error) {
	telnyx, err := telnyxtest.Start(telnyxtest.Options{Addr: d.telnyx, APIKey: devKey})
	if err != nil {
		return nil, err
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
		return nil, err
	}
	return &world{d, telnyx, issuer}, nil
}

func (w *world) close() {
	w.issuer.Close()
	w.telnyx.Close()
}

// serve runs the service, configured by variables as anybody would.
func (w *world) serve(ctx context.Context, t terminal) error {
	cfg, problems := Load("", []string{
		"TELNYX_API_KEY=" + devKey,
		"TELNYX_BASE_URL=" + w.telnyx.URL(),
		"TOKENSVC_LISTEN=" + w.flags.listen,
		"TOKENSVC_OPS_LISTEN=" + w.flags.ops,
		"TOKENSVC_OIDC_ISSUER=" + w.issuer.URL(),
		"TOKENSVC_OIDC_AUDIENCE=" + devAudience,
		"TOKENSVC_OIDC_REQUIRE={groups: [agents]}",
		"TOKENSVC_DIRECTORY=claim:" + devClaim,
		"TOKENSVC_CORS_ORIGINS=" + w.flags.origins,
		"TOKENSVC_LIMITS_DRAIN_DELAY=0s",
	})
	if len(problems) > 0 {
		return joined(problems)
	}
	s, err := newService(cfg, newLog(cfg.Log, t.err))
	if err != nil {
		return err
	}
	if err := s.listen(ctx); err != nil {
		return fmt.Errorf("%w\nAnother address can be chosen: tokensvc dev -h", err)
	}
	w.welcome(t.out, "http://"+s.callers[0].addr(), "http://"+s.operators.addr())
	return s.run(ctx)
}

// welcome says what runs where, and what to paste.
func (w *world) welcome(out io.Writer, service, ops string) {
	say(out, "tokensvc dev: all of it is on this machine, and nobody in it is real.\n\n")
	say(out, "  service  %-28s POST /v1/token, GET /openapi.yaml\n", service)
	say(out, "  ops      %-28s GET /livez, /readyz, /metrics\n", ops)
	say(out, "  issuer   %-28s GET /bearer/alice\n", w.issuer.URL())
	say(out, "  telnyx   %-28s an emulator\n", w.telnyx.URL())
	for _, p := range people {
		say(out, "\n%s %s\n", p.name, p.shows)
		say(out, "  curl -sS -X POST %s/v1/token -H \"Authorization: Bearer $(curl -sS %s/bearer/%s)\"\n", service, w.issuer.URL(), p.name)
	}
	say(out, "\nA fresh bearer, for scripts:  %s dev token%s alice\n", os.Args[0], w.tokenFlag())
	say(out, "Stop with Ctrl-C.\n\n")
}

// tokenFlag is what `dev token` must be told to find this issuer.
func (w *world) tokenFlag() string {
	if w.issuer.Addr() == devIssuerListen {
		return ""
	}
	return " -issuer " + w.issuer.URL()
}

// devToken is `tokensvc dev token NAME`: a fresh bearer, from a running dev.
func devToken(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("dev token", t)
	issuer := flags.String("issuer", "http://"+devIssuerListen, "`URL` of the running dev's issuer")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() != 1:
		say(t.err, "usage: tokensvc dev token [-issuer URL] NAME\n")
		return exitUsage
	}
	bearer, err := fetchBearer(ctx, *issuer, flags.Arg(0))
	if err != nil {
		say(t.err, "%v\n", err)
		return exitFailed
	}
	say(t.out, "%s\n", bearer)
	return exitOK
}

func fetchBearer(ctx context.Context, issuer, name string) (string, error) {
	status, body, err := get(ctx, strings.TrimSuffix(issuer, "/")+"/bearer/"+url.PathEscape(name))
	if refused := (*net.OpError)(nil); errors.As(err, &refused) {
		return "", fmt.Errorf("nobody answers at %s: is `tokensvc dev` running there?", issuer)
	}
	if err == nil && status != http.StatusOK {
		err = errors.New(body)
	}
	return body, err
}
