package handler

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// maxProblems bounds how many lines an import's answer tells what is wrong with.
const maxProblems = 100

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
	list, err := bodyOf(c.w, c.r, maxImportBytes)
	if request, ok := errors.AsType[*requestError](err); ok && request.outcome == TooLarge {
		return &requestError{outcome: TooLarge, detail: fmt.Sprintf("A list has at most %d MiB: send it in parts.", maxImportBytes>>20)}
	}
	if err != nil {
		return err
	}
	report, err := a.take(ctx, c.by, mode, roster.NewReader(bytes.NewReader(list), format, a.issuers))
	if mode != store.ImportDryRun {
		a.changed("") // also after an error, before which much may have been done
	}
	if err != nil {
		return err
	}
	if whole && report.Failed > 0 {
		report.Created, report.Updated, report.Unchanged = 0, 0, 0
	}
	return c.answer(http.StatusOK, report)
}

// extend gives the connection an import's time, in place of every request's.
func (c *call) extend() {
	connection, end := http.NewResponseController(c.w), time.Now().Add(importTimeout)
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

// imported is what became of a list.
type imported struct {
	Created   int           `json:"created"`
	Updated   int           `json:"updated"`
	Unchanged int           `json:"unchanged"`
	Failed    int           `json:"failed"`
	Errors    []lineProblem `json:"errors"`
	Truncated bool          `json:"errors_truncated"`
}

type lineProblem struct {
	Line    int    `json:"line"`
	Problem string `json:"problem"`
}

// fail notes what is wrong with a line, in words that are not the line's.
func (i *imported) fail(line int, problem string) {
	i.Failed++
	if len(i.Errors) == maxProblems {
		i.Truncated = true
		return
	}
	i.Errors = append(i.Errors, lineProblem{line, problem})
}

func (i *imported) count(verdicts []store.Verdict) {
	for _, v := range verdicts {
		switch {
		case v.Err != nil:
			i.fail(v.Line, v.Problem())
		case v.Did == store.RowCreated:
			i.Created++
		case v.Did == store.RowUpdated:
			i.Updated++
		default:
			i.Unchanged++
		}
	}
}

// take has the store take a list, in batches. What becomes of it is in the report,
// and an error is about all of it.
func (a *Admin) take(ctx context.Context, by store.By, mode store.ImportMode, list *roster.Reader) (*imported, error) {
	into, err := a.store.BeginImport(ctx, by, mode)
	if err != nil {
		return nil, err
	}
	report := &imported{Errors: []lineProblem{}}
	if err := report.addAll(ctx, into, list); err != nil {
		return nil, errors.Join(err, into.End(ctx, false))
	}
	if err := into.End(ctx, report.Failed == 0); err != nil {
		return nil, err
	}
	slices.SortStableFunc(report.Errors, func(a, b lineProblem) int { return cmp.Compare(a.Line, b.Line) })
	return report, nil
}

func (i *imported) addAll(ctx context.Context, into *store.Import, list *roster.Reader) error {
	for {
		rows, err := i.batch(list)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return err
		}
		verdicts, err := into.Add(ctx, rows)
		if err != nil {
			return err
		}
		i.count(verdicts)
		if ended {
			return nil
		}
	}
}

// batch reads as many rows as the store takes at once. At the list's end the error
// is io.EOF.
func (i *imported) batch(list *roster.Reader) ([]store.Row, error) {
	rows := make([]store.Row, 0, store.MaxBatch)
	for len(rows) < store.MaxBatch {
		row, err := list.Next()
		if wrong, ok := errors.AsType[*roster.LineError](err); ok {
			i.fail(wrong.Line, wrong.Text)
			continue
		}
		if errors.Is(err, roster.ErrHeader) {
			return nil, badRequest("The list cannot be read: " + err.Error() + ".")
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
