package telnyx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"
)

// maxErrorBytes bounds what is read of the body of a refusal.
const maxErrorBytes = 64 << 10

var (
	errRequest  = errors.New("the request could not be built")
	errTooLarge = errors.New("the body is too large")
)

// progress is how far an attempt got, for deciding what its failure means.
type progress struct {
	connected atomic.Bool // there was a connection, so something may have been sent
	answered  atomic.Bool // the first byte of an answer came
	want      *want
}

// attempt makes one request with one API key, reads its answer to the end, so that
// the connection can be used again, and decodes it. What the answer's headers say of
// the rate limit goes into shown.
func (c *Client) attempt(ctx context.Context, k call, key string, shown *Attempt) *Error {
	p := progress{want: c.dialer.begin()}
	defer p.want.end()
	req, failed := c.request(ctx, k, key, &p)
	if failed != nil {
		return failed
	}
	// The transport is used without an http.Client, which would follow
	// redirects, API key and all, and wrap errors with the URL.
	//
	// The transport repeats some requests by itself, without telling: those
	// that failed on a connection that had been idle. For POST and DELETE, which
	// carry no Idempotency-Key here, it does so only when nothing of the
	// request had been written; a GET also when the server closed before
	// answering. Neither can do anything twice.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return unanswered(ctx, &p, err)
	}
	defer resp.Body.Close()
	shown.Status = resp.StatusCode
	shown.readLimits(resp.Header)
	if !slices.Contains(k.accept, resp.StatusCode) {
		return rejected(ctx, resp)
	}
	body, failed := read(ctx, resp, k.maxBody)
	if failed != nil {
		return failed
	}
	if why := k.decode(body); why != nil {
		return &Error{Kind: ErrBadAnswer, Status: resp.StatusCode, Uncertain: true, cause: why}
	}
	return nil
}

// request builds the request.
func (c *Client) request(ctx context.Context, k call, key string, p *progress) (*http.Request, *Error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(string) { p.want.needs() },
		GotConn:              func(httptrace.GotConnInfo) { p.connected.Store(true); p.want.got() },
		GotFirstResponseByte: func() { p.answered.Store(true) },
	})
	var body io.Reader = http.NoBody
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, c.base+k.path, body)
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, cause: errRequest}
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json, text/plain")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.tracer.Carry(ctx, req.Header)
	return req, nil
}

// unanswered is the error of an attempt without an answer.
func unanswered(ctx context.Context, p *progress, err error) *Error {
	e := interrupted(ctx)
	if e == nil {
		e = broken(err, p.answered.Load())
	}
	e.Uncertain = p.connected.Load()
	return e
}

// read returns the body of a success.
func read(ctx context.Context, resp *http.Response, most int64) ([]byte, *Error) {
	// Counted after decompression, which the transport does: a small gzip body
	// can unpack to any size.
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(body)) <= most {
		return body, nil
	}
	e := interrupted(ctx)
	switch {
	case err == nil:
		e = &Error{Kind: ErrBadAnswer, cause: errTooLarge}
	case e == nil:
		e = broken(err, false)
	}
	e.Status, e.Uncertain = resp.StatusCode, true
	return nil, e
}

// rejected is the error of an answer whose status is not a success. The body
// only adds a code, so one that cannot be read is as good as none.
func rejected(ctx context.Context, resp *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if errors.Is(ctx.Err(), context.Canceled) {
		return &Error{Kind: context.Canceled, Uncertain: !settled(kindOf(resp.StatusCode))}
	}
	kind := kindOf(resp.StatusCode)
	return &Error{
		Kind:       kind,
		Status:     resp.StatusCode,
		Code:       errorCode(body),
		RetryAfter: retryAfter(resp.StatusCode, resp.Header, time.Now()),
		Uncertain:  !settled(kind),
	}
}
