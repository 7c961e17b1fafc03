package authz

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/maypok86/otter/v2"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"

	"github.com/tokensvc/tokensvc/internal/crash"
)

// Bounds of asking an issuer about tokens.
const (
	maxAnswerBytes  = 256 << 10
	questionTimeout = 5 * time.Second

	// Beyond so many questions at once, one waits for a place, but not for long:
	// an issuer that is this far behind will not catch up for it.
	MaxQuestions = 128
	placeTimeout = time.Second

	// Some of the places are for tokens that were good a while ago.
	knownPlaces = 32
	knownLife   = time.Hour
	// They may wait in greater number, since no more than a few wait for each.
	knownWaiting = 8
	maxKnown     = 100_000

	breakerFailures = 5 // in a row, and the issuer is left alone
	breakerPause    = 5 * time.Second
)

// introspector asks an issuer about tokens (RFC 7662). It keeps no answers.
type introspector struct {
	issuer      Issuer
	credentials credentials
	endpoint    *kept[string]
	transport   http.RoundTripper
	around      http.RoundTripper // the transport, and what is around it
	flights     singleflight.Group
	known       *otter.Cache[digest, struct{}] // tokens that were good
	ofKnown     queue
	ofOthers    queue
	waiting     waiting
	breaker     *gobreaker.CircuitBreaker[*token]
}

func newIntrospector(i Issuer, cfg Config) (*introspector, error) {
	known, err := otter.New(&otter.Options[digest, struct{}]{
		MaximumSize:      maxKnown,
		ExpiryCalculator: otter.ExpiryWriting[digest, struct{}](knownLife),
	})
	if err != nil {
		return nil, fmt.Errorf("tokens that were good: %w", err)
	}
	transport := connectionsFor(MaxQuestions, cfg.Transport)
	s := &introspector{
		issuer:      i,
		credentials: credentials{i.Introspection, i.URL, cfg.Now},
		endpoint:    newKept(cfg, i.Name, "introspection endpoint", newPublisher(i, cfg).discoveredEndpoint),
		transport:   transport,
		around:      cfg.to(i, transport),
		known:       known,
		ofKnown:     newQueue(knownWaiting*cfg.Waiting, knownPlaces),
		waiting:     waiting{callers: make(map[digest]int)},
		ofOthers:    newQueue(cfg.Waiting, MaxQuestions-knownPlaces),
		breaker: gobreaker.NewCircuitBreaker[*token](gobreaker.Settings{
			Timeout:     breakerPause,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			// That the issuer finds fault with a question shows that it is there.
			IsSuccessful: func(err error) bool { return isAnswer(err) || isAboutTheQuestion(err) },
		}),
	}
	if i.Introspection.Endpoint != "" {
		s.endpoint.current.Store(&i.Introspection.Endpoint)
	}
	return s, nil
}

// connectionsFor returns a transport that keeps so many connections open. The
// standard one keeps two, and would open the others anew for every question.
func connectionsFor(n int, given http.RoundTripper) http.RoundTripper {
	if given != nil {
		return given
	}
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t := standard.Clone()
	t.MaxIdleConnsPerHost = n
	t.MaxResponseHeaderBytes = maxAnswerBytes
	return t
}

// run keeps an endpoint fresh that was discovered, until ctx is done.
func (s *introspector) run(ctx context.Context) {
	if s.issuer.Introspection.Endpoint == "" {
		s.endpoint.run(ctx)
	}
	<-ctx.Done()
	s.close()
}

// close ends background work, and the connections that no question is using.
func (s *introspector) close() {
	s.known.StopAllGoroutines()
	if t, ok := s.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// introspect returns what the issuer says of a token that is active, shared
// between all who ask about it at this moment: nobody changes it. The question
// does not end with the caller who came first.
func (s *introspector) introspect(ctx context.Context, text string) (*token, error) {
	sum := digestOf(text)
	q := s.queueOf(sum)
	if !q.callers.enter() {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, errCrowded)
	}
	defer q.callers.leave()
	if !s.waiting.enter(sum) {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, errCrowded)
	}
	defer s.waiting.leave(sum)
	answered := s.flights.DoChan(string(sum[:]), func() (any, error) {
		t, err := s.ask(context.WithoutCancel(ctx), q, text)
		switch {
		case err == nil:
			s.known.Set(sum, struct{}{})
		case isAnswer(err):
			s.known.Invalidate(sum)
		}
		return t, err
	})
	select {
	case r := <-answered:
		t, _ := r.Val.(*token) // nil with an error
		return t, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, ctx.Err())
	}
}

func (s *introspector) queueOf(sum digest) *queue {
	if _, known := s.known.GetIfPresent(sum); known {
		return &s.ofKnown
	}
	return &s.ofOthers
}

// ask returns an *InvalidError if the issuer's answer is no, and
// ErrIssuerUnavailable if there is none. Neither has anything of the token or of
// the issuer's words in it.
func (s *introspector) ask(ctx context.Context, q *queue, text string) (t *token, err error) {
	defer crash.Into(&err) // beyond is a goroutine of the library's
	endpoint, err := s.endpoint.get(ctx)
	if err != nil {
		return nil, err
	}
	t, err = q.inPlace(func() (*token, error) {
		return s.breaker.Execute(func() (*token, error) {
			body, err := s.post(ctx, *endpoint, text)
			if err != nil {
				return nil, err
			}
			return s.read(body)
		})
	})
	if isAnswer(err) {
		return t, err
	}
	return nil, fmt.Errorf("%w: asking issuer %q about a token: %w", ErrIssuerUnavailable, s.issuer.Name, err)
}

func isAnswer(err error) bool {
	var no *InvalidError
	return err == nil || errors.As(err, &no)
}

// ErrClientRejected says that an issuer does not let us ask about tokens: it does
// not accept our client credentials.
var ErrClientRejected = errors.New("the issuer does not accept our client credentials")

// A statusError is the status of an answer that is none.
type statusError int

func (e statusError) Error() string {
	if e.isCredentials() {
		return fmt.Sprintf("it does not accept our client credentials (status %d)", int(e))
	}
	return fmt.Sprintf("it answered status %d", int(e))
}

// Is makes it ErrClientRejected, if it is.
func (e statusError) Is(target error) bool { return target == ErrClientRejected && e.isCredentials() }

func (e statusError) isCredentials() bool {
	return e == http.StatusUnauthorized || e == http.StatusForbidden
}

var errAnswerTooLarge = fmt.Errorf("its answer is larger than %d bytes", maxAnswerBytes)

// isAboutTheQuestion reports whether a failure says nothing about the issuer:
// some answer 400 about a token of a form they do not know, or with more groups
// than we take. If that opened the breaker, anybody could open it for everybody.
func isAboutTheQuestion(err error) bool {
	var status statusError
	return errors.Is(err, errAnswerTooLarge) || errors.As(err, &status) && status >= 400 && status < 500 &&
		!status.isCredentials() && status != http.StatusTooManyRequests
}

// post asks (RFC 7662 section 2.1). The transport is used without an
// http.Client, which would follow redirects, with the token and our credentials.
func (s *introspector) post(ctx context.Context, endpoint, text string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	header := http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/x-www-form-urlencoded"},
		// Not sent, being empty. It tells the transport that asking twice does no
		// harm, should a connection turn out to be dead.
		"Idempotency-Key": {},
	}
	form := url.Values{"token": {text}, "token_type_hint": {"access_token"}}
	if err := s.credentials.add(header, form); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("its introspection endpoint is not a URL")
	}
	req.Header = header
	res, err := s.around.RoundTrip(req)
	if err != nil {
		return nil, safeCause(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	switch {
	case res.StatusCode == http.StatusBadRequest && saysUnsupported(body):
		return nil, invalid(ReasonInactive)
	case res.StatusCode != http.StatusOK:
		return nil, statusError(res.StatusCode)
	case err != nil:
		return nil, safeCause(err)
	case len(body) > maxAnswerBytes:
		return nil, errAnswerTooLarge
	}
	return body, nil
}

// saysUnsupported reports whether a refusal is about the token: some issuers know
// tokens of one kind only, and say so of JWTs in the words of RFC 7009 section
// 2.2.1. To have such a token's owner come again would be of no use.
func saysUnsupported(body []byte) bool {
	var refusal struct {
		Error string `json:"error"`
	}
	return json.Unmarshal(body, &refusal) == nil && refusal.Error == "unsupported_token_type"
}

// safeCause says in our own words why there is no answer. The errors of net/http
// quote what came over the wire, and an answer may repeat the question.
func safeCause(err error) error {
	var (
		timeout net.Error
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("it did not answer in time")
	case errors.As(err, &dns):
		return errors.New("its host name could not be looked up")
	case errors.As(err, &cert):
		return errors.New("its certificate is not valid")
	case errors.As(err, &errno):
		return fmt.Errorf("the connection failed: %w", errno)
	}
	return errors.New("it did not complete an answer")
}

// read reads an answer (RFC 7662 section 2.2). What is not of the expected types
// is no answer.
func (s *introspector) read(body []byte) (*token, error) {
	t := &token{}
	switch {
	case !t.decode(body):
		return nil, errors.New("its answer is not a JSON object")
	case t.claims["active"] != true:
		return nil, invalid(ReasonInactive)
	case !t.readRegistered() || !t.readAudience(s.issuer.AudienceClaim):
		return nil, invalid(ReasonMalformed) // the issuer works, and one token is odd
	}
	if _, named := t.claims["iss"]; named && t.issuer != s.issuer.URL {
		return nil, invalid(ReasonIssuer)
	}
	if !isBearer(t.claims["token_type"]) {
		return nil, invalid(ReasonType)
	}
	return t, nil
}

// isBearer reports whether a token_type is that of a token which callers may
// present. Issuers answer about refresh tokens and others too.
func isBearer(tokenType any) bool {
	if tokenType == nil {
		return true
	}
	name, ok := tokenType.(string)
	return ok && slices.Contains([]string{"bearer", "dpop"}, strings.ToLower(name))
}
