package tracing

import "net/http"

// ToIssuer has requests to an issuer be spans of the requests of ours that they are
// made for.
func (t *Tracer) ToIssuer(name string, next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &toIssuer{t, name, next}
}

type toIssuer struct {
	*Tracer
	name string
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (i *toIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	what := "fetch from issuer"
	if r.Method == http.MethodPost {
		what = "ask issuer"
	}
	ctx, span := i.Call(r.Context(), what, 1)
	if !span.IsSent() {
		return i.next.RoundTrip(i.carrying(r))
	}
	span.tell("tokensvc.issuer", i.name)
	resp, err := i.next.RoundTrip(i.carrying(r.WithContext(ctx)))
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	span.Called(status, "", err != nil || status >= http.StatusInternalServerError)
	return resp, err
}

// carrying is the request with its cause: a copy, since it is not ours to change.
func (i *toIssuer) carrying(r *http.Request) *http.Request {
	own := *r
	own.Header = r.Header.Clone()
	i.Carry(r.Context(), own.Header)
	return &own
}
