// Package contracttest holds what the service answers to openapi.yaml. Only
// tests import it.
package contracttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/tokensvc/tokensvc"
)

// TB is what is needed of a testing.TB.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Contract is openapi.yaml, read.
type Contract struct {
	Doc    *openapi3.T
	router routers.Router
}

// readModules has the library read modules as the text that they are. It keeps that in
// a global of its own.
var readModules = sync.OnceFunc(func() { openapi3filter.RegisterBodyDecoder("text/javascript", openapi3filter.PlainBodyDecoder) })

// Load reads openapi.yaml and fails the test if it is not in order.
func Load(tb TB) *Contract {
	tb.Helper()
	readModules()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(tokensvc.OpenAPI)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		tb.Fatalf("openapi.yaml: %v", err)
	}
	doc.Servers = nil // answers come from wherever the test listens
	for _, path := range doc.Paths.Map() {
		path.Servers = nil
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		tb.Fatalf("openapi.yaml: %v", err)
	}
	return &Contract{doc, router}
}

// Transport returns a RoundTripper that fails the test for every answer that the
// contract does not allow.
func (c *Contract) Transport(tb TB, next http.RoundTripper) http.RoundTripper {
	return &transport{c, tb, next}
}

type transport struct {
	contract *Contract
	tb       TB
	next     http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	if err := t.contract.check(r, res, body); err != nil {
		t.tb.Errorf("%s %s: an answer that openapi.yaml does not allow: %v", r.Method, r.URL.Path, err)
	}
	return res, nil
}

// beside are statuses that belong to no operation: to what has no route, and to
// a header so large that net/http itself answers.
var beside = []int{http.StatusNotFound, http.StatusMethodNotAllowed}

func (c *Contract) check(r *http.Request, res *http.Response, body []byte) error {
	if res.StatusCode == http.StatusRequestHeaderFieldsTooLarge || r.Method == http.MethodOptions {
		return nil
	}
	asked := &http.Request{Method: r.Method, URL: &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath}, Header: r.Header, Host: r.Host}
	route, params, err := c.router.FindRoute(asked)
	if err != nil {
		return c.checkBeside(r, res, body)
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route},
		Status:                 res.StatusCode,
		Header:                 res.Header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}

func (c *Contract) checkBeside(r *http.Request, res *http.Response, body []byte) error {
	if !slices.Contains(beside, res.StatusCode) {
		return fmt.Errorf("status %d for a request that is no operation", res.StatusCode)
	}
	refused := c.Doc.Components.Responses["Problem"]
	if strings.Contains(r.URL.Path, "/v2/") { // below whatever base path
		refused = c.Doc.Components.Responses["TelnyxErrors"]
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}},
			Route: &routers.Route{Operation: &openapi3.Operation{
				Responses: openapi3.NewResponses(openapi3.WithStatus(res.StatusCode, refused)),
			}},
		},
		Status:  res.StatusCode,
		Header:  res.Header,
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}
