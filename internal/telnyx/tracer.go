package telnyx

import (
	"context"
	"net/http"
)

// tracer follows what is done for a request. It must neither block nor panic.
type tracer interface {
	// Attempt is told of an attempt at a call, as in Error.Op, before it is made: the
	// how manieth of the call, from 1. What it returns is the attempt's context, and
	// is called when it has ended.
	Attempt(ctx context.Context, op string, number int) (context.Context, func(Attempt))
	// Carry adds to an attempt's header what says what it is done for. It holds
	// nothing about people.
	Carry(ctx context.Context, header http.Header)
}

// untraced is the tracer of a client that was given none.
type untraced struct{}

func (untraced) Attempt(ctx context.Context, _ string, _ int) (context.Context, func(Attempt)) {
	return ctx, func(Attempt) {}
}
func (untraced) Carry(context.Context, http.Header) {}
