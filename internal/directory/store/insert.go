package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// An insertion is rows that go into a table. All have the same columns; a value is
// a string or an int64.
type insertion struct {
	into     string
	columns  []string
	conflict string
	values   [][]any
}

// insert writes rows. PostgreSQL gets them in one statement: what costs there
// is the way. SQLite gets each in one: for a statement of many it would keep a
// copy of every page, to take them all back.
func (c *change) insert(r insertion) error {
	if len(r.values) == 0 {
		return nil
	}
	if c.store.postgres != nil {
		return c.exec(r.statement(r.fromJSON()), asJSON(r.values))
	}
	// In the order of the keys, neighbours are on the same page.
	slices.SortFunc(r.values, func(a, b []any) int {
		if key, ok := a[0].(string); ok {
			return strings.Compare(key, b[0].(string)) //nolint:errcheck // as the other
		}
		return 0
	})
	one, err := c.PrepareContext(c.ctx, r.statement(`VALUES (`+r.each(func(n int) string { return fmt.Sprintf("$%d", n+1) })+`)`))
	if err != nil {
		return err
	}
	defer one.Close()
	// When the context is done, so is the transaction. To watch it for each row,
	// too, would take a goroutine a row.
	ctx := context.WithoutCancel(c.ctx)
	for _, values := range r.values {
		if _, err := one.ExecContext(ctx, values...); err != nil {
			return err
		}
	}
	return nil
}

func (r insertion) statement(values string) string {
	return `INSERT INTO ` + r.into + ` (` + strings.Join(r.columns, ", ") + `) ` + values + ` ` + r.conflict
}

// each joins what is said of each column.
func (r insertion) each(say func(n int) string) string {
	all := make([]string, len(r.columns))
	for n := range all {
		all[n] = say(n)
	}
	return strings.Join(all, ", ")
}

// fromJSON is how PostgreSQL reads rows from one argument.
func (r insertion) fromJSON() string {
	return `SELECT ` + r.each(func(n int) string {
		if _, number := r.values[0][n].(int64); number {
			return fmt.Sprintf("CAST(j.value ->> %d AS BIGINT)", n)
		}
		return fmt.Sprintf("j.value ->> %d", n)
	}) + ` FROM jsonb_array_elements($1::jsonb) AS j (value)`
}
