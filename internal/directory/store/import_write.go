package store

import (
	"context"
	"maps"
	"slices"
)

// write writes down what became of the batch. What was released goes first: it may
// be another's by now.
func (c *change) write(b *batch) error {
	if err := c.insert(b.userRows()); err != nil {
		return err
	}
	if err := c.takeOut(slices.Collect(maps.Values(b.released))...); err != nil {
		return err
	}
	if err := c.unkeep(b.assigned...); err != nil {
		return err
	}
	for _, r := range []insertion{b.credentialRows(), b.eventRows(c)} {
		if err := c.insert(r); err != nil {
			return err
		}
	}
	c.last, c.made = b.last, c.made+len(b.events)
	return nil
}

func (b *batch) userRows() insertion {
	r := insertion{
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

func (b *batch) credentialRows() insertion {
	r := insertion{
		into: "credentials", columns: []string{"credential_id", "user_key", "device", "sip_username", "created_at"},
		conflict: `ON CONFLICT (credential_id) DO UPDATE SET sip_username = excluded.sip_username`,
	}
	for id, c := range b.put {
		r.values = append(r.values, []any{id.String(), c.User, string(c.Device), c.SIPUsername, millis(c.CreatedAt)})
	}
	return r
}

func (b *batch) eventRows(c *change) insertion {
	r := insertion{
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
