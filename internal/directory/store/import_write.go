package store

import (
	"encoding/json"
	"fmt"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// What a batch writes, each from a table.
const (
	putUsers = `INSERT INTO users (user_key, name, created_at, disabled_at, version)
		SELECT j.value ->> 0, j.value ->> 1, CAST(j.value ->> 2 AS BIGINT), CAST(j.value ->> 3 AS BIGINT), CAST(j.value ->> 4 AS BIGINT)
		FROM %s WHERE true
		ON CONFLICT (user_key) DO UPDATE SET name = excluded.name, disabled_at = excluded.disabled_at, version = excluded.version`
	dropCredentials = `DELETE FROM credentials WHERE credential_id IN (SELECT j.value ->> 0 FROM %s)`
	putCredentials  = `INSERT INTO credentials (credential_id, user_key, device, sip_username, created_at)
		SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, CAST(j.value ->> 4 AS BIGINT)
		FROM %s WHERE true
		ON CONFLICT (credential_id) DO UPDATE SET sip_username = excluded.sip_username`
	queueDeletions = `INSERT INTO deletions (credential_id, user_key, device, since, due_at)
		SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, CAST(j.value ->> 3 AS BIGINT), CAST(j.value ->> 3 AS BIGINT)
		FROM %s WHERE true
		ON CONFLICT (credential_id) DO NOTHING`
	addEvents = `INSERT INTO events (number, at, actor, request_id, action, user_key, device, credential_id, detail)
		SELECT CAST(j.value ->> 0 AS BIGINT), CAST(j.value ->> 1 AS BIGINT), j.value ->> 2, j.value ->> 3, j.value ->> 4,
		j.value ->> 5, j.value ->> 6, j.value ->> 7, j.value ->> 8
		FROM %s`
)

// write writes down what became of the batch. What was dropped goes first: it may
// be another's by now.
func (c *change) write(b *batch) error {
	for _, w := range []struct {
		statement string
		rows      [][]any
	}{
		{putUsers, b.changedUsers()},
		{dropCredentials, b.droppedIDs()},
		{putCredentials, b.putRows()},
		{queueDeletions, b.queuedRows(c.at)},
		{addEvents, b.eventRows(c)},
	} {
		if err := c.writeTable(w.statement, w.rows); err != nil {
			return err
		}
	}
	c.last, c.made = b.last, c.made+len(b.events)
	return nil
}

func (b *batch) changedUsers() [][]any {
	var rows [][]any
	for _, u := range b.users {
		if u.changed {
			rows = append(rows, []any{u.Key, u.Name, millis(u.CreatedAt), millis(u.DisabledAt), u.Version})
		}
	}
	return rows
}

func (b *batch) droppedIDs() [][]any {
	return rowsOf(b.dropped, func(id telnyx.CredentialID, _ bool) []any { return []any{id.String()} })
}

func (b *batch) putRows() [][]any {
	return rowsOf(b.put, func(id telnyx.CredentialID, c Credential) []any {
		return []any{id.String(), c.User, c.Device, c.SIPUsername, millis(c.CreatedAt)}
	})
}

func (b *batch) queuedRows(at int64) [][]any {
	var rows [][]any
	for _, c := range b.queued {
		rows = append(rows, []any{c.ID.String(), c.User, c.Device, at})
	}
	return rows
}

func (b *batch) eventRows(c *change) [][]any {
	rows := make([][]any, 0, len(b.events))
	for _, e := range b.events {
		rows = append(rows, []any{e.Number, c.at, c.by.Actor, c.by.RequestID, e.Action, e.User, e.Device, e.Credential.String(), e.Detail})
	}
	return rows
}

func rowsOf[V any](m map[telnyx.CredentialID]V, row func(telnyx.CredentialID, V) []any) [][]any {
	rows := make([][]any, 0, len(m))
	for id, value := range m {
		rows = append(rows, row(id, value))
	}
	return rows
}

// writeTable executes a statement that has a table in it, unless that is empty.
func (c *change) writeTable(statement string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	return c.exec(fmt.Sprintf(statement, c.store.table()), table(rows))
}

// table is how a statement reads the first argument as a table of one column,
// value, whose element n is value ->> n: however many rows, it is one argument.
func (s *Store) table() string {
	if s.postgres != nil {
		return `jsonb_array_elements($1::jsonb) AS j (value)`
	}
	return `json_each($1) AS j`
}

// table is such an argument.
func table(rows [][]any) string {
	text, err := json.Marshal(rows)
	if err != nil {
		panic("store: texts and numbers make no JSON: " + err.Error())
	}
	return string(text)
}
