package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// explainTimeout bounds what explain asks of an issuer.
const explainTimeout = 15 * time.Second

// explain is `tokensvc explain`: what POST /v1/token would come to for a bearer,
// and why, up to where Telnyx would be asked.
func explain(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("explain", t, "[-config tokensvc.yaml] [-device LABEL] [-keys FILE] [-offline] [-json] < bearer.txt",
		"Says why the owner of a bearer gets a token or not. It prints nothing of the bearer.")
	path := flags.String("config", "", "`file` in YAML; without one, environment variables alone")
	label := flags.String("device", string(directory.DefaultDevice), "the `device` that a token would be asked for")
	keys := flags.String("keys", "", "`file` with the issuer's keys, a JWK set, in place of those that it publishes")
	offline := flags.Bool("offline", false, "ask nobody: use the keys kept from last time")
	asJSON := flags.Bool("json", false, "print one JSON object")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	device, err := directory.ParseDevice(*label)
	if err != nil {
		say(t.err, "-device: %v\n", err)
		return exitUsage
	}
	bearer, err := readBearer(t.in)
	if err != nil {
		sayError(t.err, err)
		return exitUsage
	}
	x, problems := newExplainer(*path, t.environ, *keys, *offline)
	if len(problems) > 0 {
		sayLines(t.err, problems)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	e := x.explain(ctx, bearer, device)
	if *asJSON {
		sayJSON(t.out, e)
	} else {
		e.say(t.out)
	}
	if e.Outcome != handler.Issued {
		return exitFailed
	}
	return exitOK
}

// maxAround is how many bytes may stand around a bearer on standard input.
const maxAround = 64

var (
	errNoBearer  = errors.New("there is no bearer on standard input: pipe one in, as in: tokensvc explain < bearer.txt")
	errTypedIn   = errors.New("the bearer is read from standard input, which is a terminal: a terminal cuts long lines and keeps them on the screen.\nPipe it in, as in: tokensvc explain < bearer.txt")
	errUnread    = errors.New("standard input cannot be read")
	bearerScheme = []string{"bearer", "dpop"}
)

// readBearer reads one bearer, and takes away white space around it and the
// scheme before it. One that is too long comes back too long, and no more of it
// is read than shows that.
func readBearer(in io.Reader) (secret.Text, error) {
	if f, ok := in.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return secret.Text{}, errTypedIn
	}
	const most = authz.MaxBearerBytes + maxAround
	input, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return secret.Text{}, errUnread
	}
	text := strings.TrimSpace(string(input))
	if len(input) > most && text != "" {
		return secret.New(string(input)), nil // whatever is white space in it
	}
	scheme, token, two := strings.Cut(text, " ")
	for _, known := range bearerScheme {
		if strings.EqualFold(scheme, known) {
			text = strings.TrimSpace(token)
			if !two {
				text = ""
			}
		}
	}
	if text == "" {
		return secret.Text{}, errNoBearer
	}
	return secret.New(text), nil
}

// explainer explains by a configuration.
type explainer struct {
	parts
	verifier *authz.Verifier
	policy   *authz.Policy
	keys     map[string]keysFrom // by issuer
	offline  bool
	now      time.Time
}

// newExplainer returns what is not in order, a line each.
func newExplainer(path string, environ []string, keys string, offline bool) (*explainer, []string) {
	p, problems := openParts(path, environ)
	if len(problems) > 0 {
		return nil, problems
	}
	if keys != "" {
		if err := checkKeyFile(keys); err != nil {
			return nil, []string{"-keys: " + err.Error()}
		}
	}
	x := &explainer{parts: p, policy: policyOf(p.cfg.Issuers), keys: map[string]keysFrom{}, offline: offline, now: now()}
	for n := range p.issuers {
		p.issuers[n], x.keys[p.issuers[n].Name] = placeKeys(p.issuers[n], keys, offline)
	}
	var err error
	if offline {
		x.verifier, err = p.verifier(noNetwork{})
	} else {
		x.verifier, err = p.verifier(nil)
	}
	return x, linesOf(err)
}

// explanation is what explain says, and the same words as whoami's.
type explanation struct {
	Issuer     string           `json:"issuer,omitempty"`
	Source     string           `json:"source,omitempty"`
	Keys       string           `json:"keys,omitempty"`
	KeysAt     string           `json:"keys_at,omitempty"`
	Verified   bool             `json:"verified"`
	Reason     authz.Reason     `json:"reason,omitempty"`
	User       string           `json:"user,omitempty"`
	UserClaim  string           `json:"user_claim,omitempty"`
	ExpiresAt  string           `json:"expires_at,omitempty"`
	NeedsProof bool             `json:"needs_proof"`
	Mode       authz.Mode       `json:"mode,omitempty"`
	Rules      []explainedRule  `json:"rules"`
	Observed   string           `json:"would_deny,omitempty"`
	Device     directory.Device `json:"device"`
	Directory  string           `json:"directory"`
	Credential string           `json:"credential,omitempty"`
	Creates    bool             `json:"would_create,omitempty"`
	Outcome    handler.Outcome  `json:"outcome,omitempty"` // none if that cannot be told
	Detail     string           `json:"detail,omitempty"`
	Cause      string           `json:"cause,omitempty"` // for the operator, where the caller is told less
	Do         string           `json:"do,omitempty"`

	Disabled bool `json:"disabled,omitempty"` // the user is
	Unlisted bool `json:"unlisted,omitempty"` // the user is not in the directory, which would do

	unknown error // why the directory cannot tell
	full    bool  // the user has as many devices as one may have
	keys    keysFrom
	url     string // of the issuer
}

type explainedRule struct {
	Rule string `json:"rule"`
	Met  bool   `json:"met"`
}

func (x *explainer) explain(ctx context.Context, bearer secret.Text, device directory.Device) explanation {
	seen := x.verifier.Explain(ctx, bearer)
	e := explanation{
		Issuer: seen.Issuer, Verified: seen.Err == nil, NeedsProof: seen.NeedsProof, Rules: []explainedRule{},
		Device: device, Directory: x.cfg.Directory.name(),
	}
	x.aboutIssuer(&e, seen)
	err := seen.Err
	if err == nil {
		err = x.aboutUser(ctx, &e, seen)
	}
	if errors.Is(err, authz.ErrWhichIssuer) {
		e.Detail = "Several issuers are asked about opaque tokens; where in a request this one is says which, and that is not known here."
		e.Do = "ask GET /v1/whoami with the token in its place"
		return e
	}
	e.Outcome, e.Detail = handler.OutcomeOf(err), handler.DetailOf(err)
	e.Do = x.advice(&e, seen)
	switch {
	case errors.Is(err, authz.ErrIssuerUnavailable):
		e.Cause = oneLine(err.Error())
	case errors.Is(err, directory.ErrUnavailable):
		e.Cause = oneLine(e.unknown.Error())
	}
	return e
}

// aboutIssuer says what is known of the issuer, and keeps its keys if they have
// been fetched.
func (x *explainer) aboutIssuer(e *explanation, seen authz.Explanation) {
	var no *authz.InvalidError
	if errors.As(seen.Err, &no) {
		e.Reason = no.Reason
	}
	i, known := x.issuer(seen.Issuer)
	if !known {
		return
	}
	e.Source, e.Mode, e.url = seen.Source.String(), i.Mode, i.URL
	e.keys = x.keys[i.Name]
	if e.keys.from == keysFetched {
		set := x.verifier.PublicKeys(i.Name)
		if set == nil { // it did not come to that
			return
		}
		e.keys.at, e.keys.trouble = x.now, keepKeys(i, set, x.now)
	}
	e.Keys, e.KeysAt = e.keys.from, moment(e.keys.at)
}

// aboutUser says what is known of a user, all of it, and returns the first reason
// for which there would be no token.
func (x *explainer) aboutUser(ctx context.Context, e *explanation, seen authz.Explanation) error {
	e.User, e.UserClaim, e.ExpiresAt = seen.User, seen.UserClaim, moment(seen.ExpiresAt)
	for _, v := range seen.Verdicts(x.policy, x.now) {
		e.Rules = append(e.Rules, explainedRule(v))
	}
	var denied error
	e.Observed, denied = seen.Judge(x.policy, x.now)
	credential, err := x.users.Find(ctx, directory.Query{User: seen.User, Claims: seen.Claims, Device: e.Device})
	switch {
	case err == nil:
		e.Credential = credential.String()
	case errors.Is(err, directory.ErrNotCreated):
		e.Creates, err = true, nil
	}
	x.aboutBooks(ctx, e, err)
	if denied != nil {
		return denied
	}
	e.Disabled, e.full = errors.Is(err, directory.ErrDisabled), errors.Is(err, directory.ErrTooManyDevices)
	return err
}

func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
