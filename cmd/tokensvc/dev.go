package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"
)

// What `tokensvc dev` runs when it is told nothing else.
const (
	devPageListen   = "127.0.0.1:8083"
	devListen       = "127.0.0.1:8080"
	devOpsListen    = "127.0.0.1:9090"
	devIssuerListen = "127.0.0.1:8081"
	devTelnyxListen = "127.0.0.1:8082"
	devOrigins      = "http://localhost:3000,http://127.0.0.1:3000,http://localhost:5173,http://127.0.0.1:5173"
	devSDK          = "web/demo/node_modules/@telnyx/webrtc/lib/bundle.mjs"
)

// devFlags are where everything listens, and where Telnyx's SDK for browsers is.
type devFlags struct{ page, listen, ops, issuer, telnyx, origins, sdk string }

// devPart is one of the things that listen.
type devPart struct {
	flag    string
	what    string
	address *string
}

func (d *devFlags) parts() []devPart {
	return []devPart{
		{"page-listen", "the softphone", &d.page},
		{"listen", "the service", &d.listen},
		{"ops-listen", "health and metrics", &d.ops},
		{"issuer-listen", "the issuer", &d.issuer},
		{"telnyx-listen", "Telnyx emulator", &d.telnyx},
	}
}

func (d *devFlags) parse(t terminal, args []string) (status int, ok bool) {
	flags := newFlags("dev", t, "[-listen ADDRESS] …\n       tokensvc dev token [-issuer URL] NAME",
		"Runs the service with a made-up Telnyx, a made-up issuer and a softphone, on loopback.\n`dev token` prints a fresh bearer of one of its people: "+names()+".")
	flags.StringVar(&d.page, "page-listen", devPageListen, "the `address` of the softphone, a page to open")
	flags.StringVar(&d.listen, "listen", devListen, "the service's `address`")
	flags.StringVar(&d.ops, "ops-listen", devOpsListen, "the `address` for health and metrics")
	flags.StringVar(&d.issuer, "issuer-listen", devIssuerListen, "the `address` of the issuer")
	flags.StringVar(&d.telnyx, "telnyx-listen", devTelnyxListen, "the `address` of the Telnyx emulator")
	flags.StringVar(&d.origins, "cors-origins", devOrigins, "`origins` that browsers may call from")
	flags.StringVar(&d.sdk, "sdk", devSDK, "the `file` that the softphone has of Telnyx's SDK, an ES module")
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
	if named(flags, "sdk") && d.sdkMissing() != "" {
		say(t.err, "-sdk %s is no file\n", d.sdk)
		return exitUsage, false
	}
	return exitOK, true
}

// named reports whether a flag was given.
func named(flags *flag.FlagSet, name string) (given bool) {
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
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

// clashes says of every part that cannot listen why. Each is listened on until all
// have been tried, so that two that are to be at one address are found too.
func (d *devFlags) clashes(ctx context.Context) error {
	var all []error
	for _, p := range d.parts() {
		open, err := listenOn(ctx, *p.address)
		if err != nil {
			all = append(all, p.clash(err))
			continue
		}
		defer open.Close() // nobody has been let in
	}
	return errors.Join(all...)
}

// clash says why a part cannot listen though it could a moment ago.
func (d *devFlags) clash(flag string, why error) error {
	for _, p := range d.parts() {
		if p.flag == flag {
			return p.clash(why)
		}
	}
	return why
}

// clash says why it cannot listen, and what to do.
func (p devPart) clash(why error) error {
	state := "cannot be listened on"
	if errors.Is(why, errTaken) {
		state = "is taken"
	}
	return fmt.Errorf("%s %s (%s): choose another with -%s 127.0.0.1:0", *p.address, state, p.what, p.flag)
}

// dev is `tokensvc dev`: the real service between an emulated Telnyx and an
// issuer of made-up people, and a softphone that uses all three.
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
	world, err := startWorld(ctx, d)
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
