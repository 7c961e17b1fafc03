package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// rows go into a table. All have the same columns; a value is a string or an
// int64.
type rows struct {
	into     string
	columns  []string
	conflict string
	values   [][]any
}

// write writes down what became of the batch. What was dropped goes first: it may
// be another's by now.
func (c *change) write(b *batch) error {
	if err := c.writeRows(b.userRows()); err != nil {
		return err
	}
	for id := range b.dropped {
		if err := c.exec(`DELETE FROM credentials WHERE credential_id = $1`, id.String()); err != nil {
			return err
		}
	}
	for _, r := range []rows{b.credentialRows(), b.deletionRows(), b.eventRows(c)} {
		if err := c.writeRows(r); err != nil {
			return err
		}
	}
	c.last, c.made = b.last, c.made+len(b.events)
	return nil
}

func (b *batch) userRows() rows {
	r := rows{
		into: "users", columns: []string{"user_key", "name", "created_at", "disabled_at", "version"},
		conflict: `ON CONFLICT (user_key) DO UPDATE SET name = excluded.name, disabled_at = excluded.disabled_at, version = excluded.version`,
	}
	for _, u := range b.users {
		if u.changed {
			r.values = append(r.values, []any{u.Key, u.Name, millis(u.CreatedAt), millis(u.DisabledAt), u.Version})
		}
	}
	return r
}

func (b *batch) credentialRows() rows {
	r := rows{
		into: "credentials", columns: []string{"credential_id", "user_key", "device", "sip_username", "created_at"},
		conflict: `ON CONFLICT (credential_id) DO UPDATE SET sip_username = excluded.sip_username`,
	}
	for id, c := range b.put {
		r.values = append(r.values, []any{id.String(), c.User, string(c.Device), c.SIPUsername, millis(c.CreatedAt)})
	}
	return r
}

func (b *batch) deletionRows() rows {
	r := rows{
		into: "deletions", columns: []string{"credential_id", "user_key", "device", "since", "due_at"},
		conflict: `ON CONFLICT (credential_id) DO NOTHING`,
	}
	for _, c := range b.queued {
		r.values = append(r.values, []any{c.ID.String(), c.User, string(c.Device), b.at, b.at})
	}
	return r
}

func (b *batch) eventRows(c *change) rows {
	r := rows{
		into:    "events",
		columns: []string{"number", "at", "actor", "request_id", "action", "user_key", "device", "credential_id", "detail"},
	}
	for _, e := range b.events {
		r.values = append(r.values, []any{
			e.Number, b.at, c.by.Actor, c.by.RequestID, string(e.Action), e.User, string(e.Device), e.Credential.String(), e.Detail,
		})
	}
	return r
}

// What an import that writes needs of SQLite beyond what others do: its rows are
// all over the tables, so most of these should be in the cache, and a page should
// be changed many times before it goes from the log into the file.
const (
	importPragmas = `PRAGMA cache_size = -262144; PRAGMA wal_autocheckpoint = 65536`
	usualPragmas  = `PRAGMA cache_size = -2000; PRAGMA wal_autocheckpoint = 1000; PRAGMA shrink_memory; PRAGMA wal_checkpoint(TRUNCATE)`
)

// prepareImport makes SQLite fast at imports. That it fails makes nothing wrong,
// only slow.
func (s *Store) prepareImport(ctx context.Context) {
	if s.postgres == nil {
		_, _ = s.writes.ExecContext(ctx, importPragmas)
	}
}

// finishImport gives back what the import took.
func (s *Store) finishImport(ctx context.Context) {
	if s.postgres == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
		defer cancel()
		_, _ = s.writes.ExecContext(ctx, usualPragmas)
	}
}

// writeRows writes rows. PostgreSQL gets them in one statement: what costs there
// is the way. SQLite gets each in one: for a statement of many it would keep a
// copy of every page, to take them all back.
func (c *change) writeRows(r rows) error {
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
	for _, values := range r.values {
		if _, err := one.ExecContext(c.ctx, values...); err != nil {
			return err
		}
	}
	return nil
}

func (r rows) statement(values string) string {
	return `INSERT INTO ` + r.into + ` (` + strings.Join(r.columns, ", ") + `) ` + values + ` ` + r.conflict
}

// each joins what is said of each column.
func (r rows) each(say func(n int) string) string {
	all := make([]string, len(r.columns))
	for n := range all {
		all[n] = say(n)
	}
	return strings.Join(all, ", ")
}

// fromJSON is how PostgreSQL reads rows from one argument.
func (r rows) fromJSON() string {
	return `SELECT ` + r.each(func(n int) string {
		if _, number := r.values[0][n].(int64); number {
			return fmt.Sprintf("CAST(j.value ->> %d AS BIGINT)", n)
		}
		return fmt.Sprintf("j.value ->> %d", n)
	}) + ` FROM jsonb_array_elements($1::jsonb) AS j (value)`
}

// inList is the part of a condition that reads texts from the first argument.
func (s *Store) inList() string {
	if s.postgres != nil {
		return `IN (SELECT jsonb_array_elements_text($1::jsonb))`
	}
	return `IN (SELECT value FROM json_each($1))`
}

// asJSON is an argument with many values: however many, it is one.
func asJSON(values any) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic("store: texts and numbers make no JSON: " + err.Error())
	}
	return string(text)
}
