package handler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// importList takes a list into the directory. It reads all of it first: then one
// that is too long changes nothing, and a slow sender keeps nobody from the books.
func (a *Admin) importList(ctx context.Context, c *call) error {
	c.extend()
	mode, whole, err := c.importMode()
	if err != nil {
		return err
	}
	format, err := c.format()
	if err != nil {
		return err
	}
	list, err := bodyOf(c.w, c.r, MaxImportBytes)
	if request, ok := errors.AsType[*requestError](err); ok && request.outcome == TooLarge {
		return &requestError{outcome: TooLarge, detail: fmt.Sprintf("A list has at most %d MiB: send it in parts.", MaxImportBytes>>20)}
	}
	if err != nil {
		return err
	}
	report := ImportAnswer{Errors: []LineProblem{}}
	reader := roster.NewReader(bytes.NewReader(list), format, a.issuers)
	reader.SharedDevices = a.shared
	report.Tally, err = roster.Import(ctx, a.store, c.by, mode, reader, report.fail)
	if mode != store.ImportDryRun {
		a.changed("") // also after an error, before which much may have been done
	}
	switch {
	case errors.Is(err, roster.ErrHeader):
		return badRequest("The list cannot be read: " + err.Error() + ".")
	case err != nil:
		return err
	case whole && report.Failed > 0: // also of one that only would be
		report.Tally = roster.Tally{Failed: report.Failed}
	}
	return c.answer(http.StatusOK, report)
}

// extend gives the connection an import's time, in place of every request's.
func (c *call) extend() {
	connection, end := http.NewResponseController(c.w), time.Now().Add(ImportTimeout)
	// What cannot be extended has no end, or its end is noticed by whoever reads.
	_ = connection.SetReadDeadline(end)
	_ = connection.SetWriteDeadline(end.Add(answerTime))
}

// importMode reads how a list is to be taken, and whether it is all or nothing.
func (c *call) importMode() (mode store.ImportMode, whole bool, err error) {
	q, err := c.query("atomic", "dry_run")
	if err != nil {
		return 0, false, err
	}
	whole, err = q.flag("atomic")
	if err != nil {
		return 0, false, err
	}
	dry, err := q.flag("dry_run")
	switch {
	case dry:
		mode = store.ImportDryRun
	case whole:
		mode = store.ImportAtomic
	}
	return mode, whole, err
}

func (c *call) format() (roster.Format, error) {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	for _, f := range []roster.Format{roster.CSV, roster.NDJSON} {
		if err == nil && media == f.ContentType() {
			return f, nil
		}
	}
	return 0, &requestError{outcome: UnsupportedMediaType, detail: "The body must be text/csv or application/x-ndjson."}
}

// ImportAnswer is what became of a list.
type ImportAnswer struct {
	roster.Tally
	Errors    []LineProblem `json:"errors"` // of roster.MaxProblems lines at most
	Truncated bool          `json:"errors_truncated"`
}

// A LineProblem is what is wrong with a line, in words that are not the line's.
type LineProblem struct {
	Line    int    `json:"line"`
	Problem string `json:"problem"`
}

func (i *ImportAnswer) fail(line int, problem string) {
	if len(i.Errors) == roster.MaxProblems {
		i.Truncated = true
		return
	}
	i.Errors = append(i.Errors, LineProblem{line, problem})
}
