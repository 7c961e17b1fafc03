package roster

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A Tally is what became of a list's lines.
type Tally struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`
}

// MaxProblems is how many of the lines that are wrong are shown to whoever imports
// a list.
const MaxProblems = 1000

// Import has the store take all of a list, by somebody. What is wrong with a line
// is told, in the order of the lines, in words of ours.
//
// The error is about all of it: ErrHeader, directory.ErrUnavailable, or what the
// list's reader said. Of an ImportEach the Tally then has what is written for
// certain, and some of the lines after it may be too: to import the list again is
// harmless. Of an ImportAtomic that was not written, it has only what failed.
func Import(ctx context.Context, s *store.Store, by store.By, mode store.ImportMode, list *Reader, wrong func(line int, text string)) (Tally, error) {
	into, err := s.BeginImport(ctx, by, mode)
	if err != nil {
		return Tally{}, err
	}
	i := &importing{into: into, tell: wrong}
	err = i.all(ctx, list)
	commit := mode == store.ImportEach || err == nil && i.tally.Failed == 0
	err = cmp.Or(err, into.End(ctx, commit))
	if mode == store.ImportAtomic && (!commit || err != nil) {
		return Tally{Failed: i.tally.Failed}, err
	}
	return i.tally, err
}

// importing is an import that is under way.
type importing struct {
	into  *store.Import
	tell  func(line int, text string)
	rows  []store.Row // to be added
	wrong []LineError // to be told, once those before are known
	tally Tally
}

// all takes everything that there is to be read. What was read before a reader
// failed is taken too.
func (i *importing) all(ctx context.Context, list *Reader) error {
	for {
		row, err := list.Next()
		bad, isLine := errors.AsType[*LineError](err)
		switch {
		case errors.Is(err, io.EOF):
			return i.add(ctx)
		case isLine:
			i.fail(bad.Line, bad.Text)
		case err != nil:
			return cmp.Or(i.add(ctx), err)
		default:
			i.rows = append(i.rows, row)
		}
		if len(i.rows) == store.MaxBatch || len(i.wrong) == store.MaxBatch {
			if err := i.add(ctx); err != nil {
				return err
			}
		}
	}
}

// add adds the rows that were collected, and tells what was wrong up to there.
func (i *importing) add(ctx context.Context) error {
	verdicts, err := i.into.Add(ctx, i.rows)
	i.rows = i.rows[:0]
	for _, v := range verdicts {
		switch {
		case v.Err != nil:
			i.fail(v.Line, problemOf(v))
		case v.Did == store.RowCreated:
			i.tally.Created++
		case v.Did == store.RowUpdated:
			i.tally.Updated++
		default:
			i.tally.Unchanged++
		}
	}
	slices.SortFunc(i.wrong, func(a, b LineError) int { return cmp.Compare(a.Line, b.Line) })
	for _, w := range i.wrong {
		i.tell(w.Line, w.Text)
	}
	i.wrong = i.wrong[:0]
	return err
}

// problemOf says what is wrong with a row, and what to do about it.
func problemOf(v store.Verdict) string {
	if errors.Is(v.Err, directory.ErrDisabled) {
		return v.Problem() + ": enable first"
	}
	return v.Problem()
}

func (i *importing) fail(line int, text string) {
	i.tally.Failed++
	i.wrong = append(i.wrong, LineError{Line: line, Text: text})
}
