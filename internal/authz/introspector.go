package authz

import (
	"context"
	"crypto/sha256"
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

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"
)

// Bounds of asking an issuer about tokens.
const (
	maxAnswerBytes  = 64 << 10
	questionTimeout = 5 * time.Second

	// Beyond so many questions at once, one waits for a place, but not for long:
	// an issuer that is this far behind will not catch up for it.
	maxQuestions = 64
	placeTimeout = time.Second

	breakerFailures = 5 // in a row, and the issuer is left alone
	breakerPause    = 5 * time.Second
)

// introspector asks an issuer about tokens (RFC 7662). It keeps no answers.
type introspector struct {
	issuer      Issuer
	credentials credentials
	endpoint    *kept[string]
	transport   http.RoundTripper
	flights     singleflight.Group
	callers     crowd // who wait for answers
	places      chan struct{}
	breaker     *gobreaker.CircuitBreaker[*token]
}

func newIntrospector(i Issuer, cfg Config) *introspector {
	s := &introspector{
		issuer:      i,
		credentials: credentials{i.Introspection, i.URL, cfg.Now},
		endpoint:    newKept(cfg, i.Name, "introspection endpoint", newPublisher(i, cfg).discoveredEndpoint),
		transport:   connectionsFor(maxQuestions, cfg.Transport),
		callers:     crowd{limit: int64(cfg.Waiting)},
		places:      make(chan struct{}, maxQuestions),
		breaker: gobreaker.NewCircuitBreaker[*token](gobreaker.Settings{
			Timeout:      breakerPause,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			IsSuccessful: isAnswer,
			IsExcluded:   isAboutTheQuestion,
		}),
	}
	if i.Introspection.Endpoint != "" {
		s.endpoint.current.Store(&i.Introspection.Endpoint)
	}
	return s
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
	s.hangUp()
}

// hangUp closes the connections that no question is using.
func (s *introspector) hangUp() {
	if t, ok := s.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// introspect returns what the issuer says of a token that is active, shared
// between all who ask about it at this moment: nobody changes it. The question
// does not end with the caller who came first.
func (s *introspector) introspect(ctx context.Context, text string) (*token, error) {
	if !s.callers.enter() {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, errCrowded)
	}
	defer s.callers.leave()
	sum := sha256.Sum256([]byte(text))
	answered := s.flights.DoChan(string(sum[:]), func() (any, error) {
		return s.ask(context.WithoutCancel(ctx), text)
	})
	select {
	case r := <-answered:
		t, _ := r.Val.(*token) // nil with an error
		return t, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, ctx.Err())
	}
}

// ask returns an *InvalidError if the issuer's answer is no, and
// ErrIssuerUnavailable if there is none. Neither has anything of the token or of
// the issuer's words in it.
func (s *introspector) ask(ctx context.Context, text string) (*token, error) {
	endpoint, err := s.endpoint.get(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.inPlace(func() (*token, error) {
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

func (s *introspector) inPlace(question func() (*token, error)) (*token, error) {
	select {
	case s.places <- struct{}{}:
	case <-time.After(placeTimeout):
		return nil, errors.New("too many questions wait for an answer")
	}
	defer func() { <-s.places }()
	return question()
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

// isAboutTheQuestion reports whether a failure says nothing about the issuer:
// some answer 400 about a token of a form they do not know. If that opened the
// breaker, anybody could open it for everybody.
func isAboutTheQuestion(err error) bool {
	var status statusError
	return errors.As(err, &status) && status >= 400 && status < 500 &&
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
	res, err := s.transport.RoundTrip(req)
	if err != nil {
		return nil, safeCause(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	switch {
	case res.StatusCode != http.StatusOK:
		return nil, statusError(res.StatusCode)
	case err != nil:
		return nil, safeCause(err)
	case len(body) > maxAnswerBytes:
		return nil, fmt.Errorf("its answer is larger than %d bytes", maxAnswerBytes)
	}
	return body, nil
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
		return nil, errors.New("its answer has a claim of the wrong type")
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
