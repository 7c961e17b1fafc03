package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const maxCheckTimeout = 5 * time.Minute

// check is `tokensvc check`: whether everything is there that serve needs.
func check(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("check", t, "[-config tokensvc.yaml] [-timeout 10s] [-json]", "Says whether all that serve needs is there, and what to do about what is not.")
	path := flags.String("config", "", "`file` in YAML; without one, environment variables alone")
	timeout := flags.Duration("timeout", 10*time.Second, "how `long` all of it may take")
	asJSON := flags.Bool("json", false, "print one JSON object")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	if *timeout <= 0 || *timeout > maxCheckTimeout {
		say(t.err, "-timeout must be more than 0s and at most %s\n", brief(maxCheckTimeout))
		return exitUsage
	}
	p, problems := openParts(*path, t.environ)
	status, found := exitUsage, misconfigured(problems)
	if len(problems) == 0 {
		ctx, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		status, found = exitOK, append(found, p.check(ctx)...)
	}
	report := newReport(found)
	if status == exitOK && !report.OK {
		status = exitFailed
	}
	if *asJSON {
		sayJSON(t.out, report)
	} else {
		report.say(t.out)
	}
	return status
}

// report is what check says.
type report struct {
	OK    bool      `json:"ok"`
	Parts []checked `json:"parts"`
}

// checked is a part of the service, and how it stands.
type checked struct {
	Part   string `json:"part"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // about it, if it is not as it must be
}

func newReport(found []checked) report {
	r := report{OK: true, Parts: found}
	for _, c := range found {
		r.OK = r.OK && c.OK
	}
	return r
}

func (r report) say(w io.Writer) {
	width := 0
	for _, c := range r.Parts {
		width = max(width, len(c.Part))
	}
	for _, c := range r.Parts {
		sayRow(w, sign(c.OK), c.Part, width, c.Detail)
		if c.Do != "" {
			sayRow(w, " ", "", width, "do: "+c.Do)
		}
	}
}

func inOrder(part, detail string) checked { return checked{Part: part, OK: true, Detail: detail} }

func amiss(part, detail, do string) checked {
	return checked{Part: part, Detail: oneLine(detail), Do: do}
}

// misconfigured is a row for each problem, or one that says that there is none.
func misconfigured(problems []string) []checked {
	const part = "configuration"
	if len(problems) == 0 {
		return []checked{inOrder(part, "in order")}
	}
	var all []checked
	for _, p := range problems {
		all = append(all, amiss(part, p, ""))
	}
	all[len(all)-1].Do = "correct it: docs/configuration.md says what goes where"
	return all
}

// check looks at all parts at once.
func (p parts) check(ctx context.Context) []checked {
	var looks []func() []checked
	for _, i := range p.issuers {
		looks = append(looks, func() []checked { return checkIssuer(ctx, i) })
	}
	looks = append(looks, func() []checked { return []checked{p.checkDirectory(ctx)} })
	looks = append(looks, func() []checked { return p.checkCache(ctx) })
	for i := range p.cfg.Telnyx.APIKeys {
		looks = append(looks, func() []checked { return []checked{p.checkTelnyx(ctx, i)} })
	}
	looks = append(looks,
		func() []checked { return p.checkCertificates(now()) },
		func() []checked { return p.checkListeners(ctx) },
		func() []checked { return []checked{p.cfg.Audit.check()} },
	)
	found := make([][]checked, len(looks))
	var looking sync.WaitGroup
	for n, look := range looks {
		looking.Go(func() { found[n] = look() })
	}
	looking.Wait()
	var all []checked
	for _, f := range found {
		all = append(all, f...)
	}
	return all
}

func checkIssuer(ctx context.Context, i authz.Issuer) []checked {
	if i.Proxy != nil {
		return []checked{inOrder("issuer "+i.Name+": proxy", trustIn(i.Proxy))}
	}
	var all []checked
	for _, f := range authz.Inspect(ctx, i) {
		part := "issuer " + i.Name + ": " + string(f.Part)
		if f.Err == nil {
			all = append(all, inOrder(part, f.Detail))
		} else {
			all = append(all, amiss(part, f.Err.Error(), adviceOnPart(i, f)))
		}
	}
	return all
}

// trustIn is what makes a proxy believed. That its secret is there has been seen
// when the configuration was read.
func trustIn(p *authz.Proxy) string {
	by := "a client certificate of " + strings.Join(p.ClientNames, " or ")
	if p.Secret != nil {
		by = "the secret of its file"
	}
	return fmt.Sprintf("believed from %s with %s", joinNetworks(p.Networks), by)
}

func joinNetworks(networks []netip.Prefix) string {
	var all []string
	for _, n := range networks {
		all = append(all, n.String())
	}
	return strings.Join(all, ", ")
}

func adviceOnPart(i authz.Issuer, f authz.Finding) string {
	switch {
	case f.Part == authz.PartDiscovery:
		return "see that " + strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration can be fetched from here, and that it spells the issuer as issuers[].issuer does"
	case f.Part == authz.PartKeys && i.KeyFile() != "":
		return "put the issuer's JWK set into the file, with keys for issuers[].algorithms"
	case f.Part == authz.PartKeys:
		return "see that the issuer's keys can be fetched from here, and that there are some for issuers[].algorithms"
	case errors.Is(f.Err, authz.ErrClientRejected):
		return "see that issuers[].introspection has the client_id and the secret or key that the issuer knows, and that it lets this client ask"
	}
	return "see that the issuer answers about tokens at issuers[].introspection.endpoint, or the one that it publishes"
}

// checkTelnyx asks for one credential with one of the API keys, which changes
// nothing and is shown to nobody.
func (p parts) checkTelnyx(ctx context.Context, i int) checked {
	keys := p.cfg.Telnyx.APIKeys
	part := "telnyx"
	if len(keys) > 1 {
		part += ": " + keyName(i, len(keys))
	}
	client, err := telnyx.New(p.cfg.telnyx(func() []secret.Text { return keys[i : i+1] }))
	if err != nil {
		return amiss(part, err.Error(), "")
	}
	defer client.CloseIdleConnections()
	page, err := client.Credentials(ctx, telnyx.Query{Size: 1})
	if err != nil {
		return amiss(part, err.Error(), p.adviceOnTelnyx(err))
	}
	return inOrder(part, fmt.Sprintf("accepts the API key; credentials in the account: %d", page.TotalResults))
}

func (p parts) adviceOnTelnyx(err error) string {
	switch {
	case errors.Is(err, telnyx.ErrKeyRejected) && p.cfg.Telnyx.APIKeyFile != "":
		return "put a key that Telnyx's portal shows as active into the file of telnyx.api_key_file"
	case errors.Is(err, telnyx.ErrKeyRejected) && len(p.cfg.Telnyx.APIKeyFiles) > 0:
		return "put a key that Telnyx's portal shows as active into its file, or take the file out of telnyx.api_keys"
	case errors.Is(err, telnyx.ErrKeyRejected):
		return "put a key that Telnyx's portal shows as active into TELNYX_API_KEY"
	case errors.Is(err, telnyx.ErrLimited):
		return "wait a minute and check again; if it stays so, see what else uses the account"
	case errors.Is(err, telnyx.ErrUnavailable), errors.Is(err, telnyx.ErrTimeout):
		return "see that " + p.cfg.Telnyx.BaseURL + " can be reached from here, and whether Telnyx has an outage"
	}
	return "see that telnyx.base_url, " + p.cfg.Telnyx.BaseURL + ", is the address of Telnyx's API"
}

// checkListeners listens on each address for a moment. That one is taken is as it
// must be where a tokensvc answers there: the service runs already.
func (p parts) checkListeners(ctx context.Context) []checked {
	contract := p.cfg.BasePath + "/openapi.yaml"
	var all []checked
	for _, l := range []struct {
		setting, address string
		tls              TLSConfig
		path, says       string
	}{
		{"ops_listen", p.cfg.OpsListen, p.cfg.OpsTLS, "/livez", "ok"},
		{"listen", p.cfg.Listen, p.cfg.TLS, contract, "title: tokensvc"},
		{"proxy_listen", p.cfg.ProxyListen, p.cfg.ProxyTLS, contract, "title: tokensvc"},
	} {
		if l.address == "" {
			continue
		}
		switch err := tryListen(ctx, l.address); {
		case err == nil && strings.HasSuffix(l.address, ":0"):
			all = append(all, inOrder(l.setting, l.address+": a free port is chosen at the start"))
		case err == nil:
			all = append(all, inOrder(l.setting, l.address+" is free"))
		case errors.Is(err, errTaken) && neighbour{dialable(l.address), l.tls}.answers(ctx, l.path, l.says):
			all = append(all, inOrder(l.setting, l.address+" is taken by a tokensvc that runs"))
		case errors.Is(err, errTaken) && l.tls.ClientCAFile != "":
			all = append(all, inOrder(l.setting, l.address+" is taken; who answers there wants a client certificate, and is not asked"))
		default:
			all = append(all, amiss(l.setting, l.address+": "+err.Error(), "choose an address of this machine that nobody else listens on"))
		}
	}
	return all
}

func tryListen(ctx context.Context, address string) error {
	l, err := listenOn(ctx, address)
	if err != nil {
		return err
	}
	return l.Close()
}

// answers reports whether whoever is there answers as a tokensvc would.
func (n neighbour) answers(ctx context.Context, path, says string) bool {
	status, body, err := n.get(ctx, path)
	return err == nil && status == http.StatusOK && strings.Contains(body, says)
}
