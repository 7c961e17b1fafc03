package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/handler"
)

var errTooLongForOne = fmt.Errorf("a list of more than %d MiB goes to the service in parts, so not -atomic: "+
	"leave that out, or import on the machine of the database, without -server", handler.MaxImportBytes>>20)

// take sends a list, in parts if it is long. Lines keep their numbers.
func (b *serverBooks) take(ctx context.Context, list newcomers) (tally, error) {
	count := tally{DryRun: list.dryRun}
	if list.atomic && !list.dryRun {
		return count, b.takeWhole(ctx, list, &count)
	}
	cutter := roster.NewCutter(list.from, list.format, handler.MaxImportBytes)
	for {
		part, err := cutter.Next()
		bad, isLine := errors.AsType[*roster.LineError](err)
		switch {
		case errors.Is(err, io.EOF):
			return count, nil
		case isLine:
			count.Failed++
			list.wrong(bad.Line, bad.Text)
			continue
		case err != nil:
			return count, err
		}
		if err := b.send(ctx, list, part.List, part.Line, &count); err != nil {
			return count, fmt.Errorf("from line %d on: %w", part.First(), err)
		}
	}
}

// takeWhole sends a list in one piece, which is taken as a whole or not at all.
func (b *serverBooks) takeWhole(ctx context.Context, list newcomers, count *tally) error {
	whole, err := io.ReadAll(io.LimitReader(list.from, handler.MaxImportBytes+1))
	switch {
	case err != nil:
		return err
	case len(whole) > handler.MaxImportBytes:
		return errTooLongForOne
	}
	cutter := roster.NewCutter(bytes.NewReader(whole), list.format, handler.MaxImportBytes)
	if _, err := cutter.Next(); errors.Is(err, roster.ErrHeader) { // is said as of any other list
		return err
	}
	return b.send(ctx, list, whole, func(line int) int { return line }, count)
}

// send sends a list, adds what became of it to the count, and tells what is wrong
// with the lines, which have other numbers in the whole.
func (b *serverBooks) send(ctx context.Context, list newcomers, part []byte, number func(int) int, count *tally) error {
	query := url.Values{}
	switch {
	case list.dryRun:
		query.Set("dry_run", "true")
	case list.atomic:
		query.Set("atomic", "true")
	}
	var answer handler.ImportAnswer
	err := b.do(ctx, ask{
		method: http.MethodPost, path: []string{"import"}, query: query, timeout: handler.ImportTimeout + answerTime,
		contentType: list.format.ContentType(), body: part,
	}, &answer)
	if err != nil {
		return err
	}
	for _, wrong := range answer.Errors {
		list.wrong(number(wrong.Line), wrong.Problem)
	}
	count.Created += answer.Created
	count.Updated += answer.Updated
	count.Unchanged += answer.Unchanged
	count.Failed += answer.Failed
	return nil
}
