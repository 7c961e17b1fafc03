package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A querier is the database, or a change that is under way in it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// userIn returns one user, or ErrNotFound.
func userIn(ctx context.Context, q querier, key string) (User, error) {
	users, err := usersIn(ctx, q, `user_key = $1`, key)
	if err == nil && len(users) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return User{}, err
	}
	return users[0], nil
}

// usersIn returns the users for whom the condition holds, with their credentials,
// ordered by key and device.
func usersIn(ctx context.Context, q querier, condition string, args ...any) ([]User, error) {
	rows, err := q.QueryContext(ctx, `SELECT u.user_key, u.name, u.created_at, u.disabled_at, u.version, `+joinedColumns+`
		FROM (SELECT * FROM users WHERE `+condition+`) u LEFT JOIN credentials c ON c.user_key = u.user_key
		ORDER BY u.user_key, c.device`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var users []User
	for rows.Next() {
		var u User
		var created, disabled int64
		var r credentialRow
		if err := rows.Scan(append([]any{&u.Key, &u.Name, &created, &disabled, &u.Version}, r.columns()...)...); err != nil {
			return nil, err
		}
		if len(users) == 0 || users[len(users)-1].Key != u.Key {
			u.CreatedAt, u.DisabledAt = moment(created), moment(disabled)
			users = append(users, u)
		}
		credential, err := r.credential()
		if err != nil {
			return nil, err
		}
		if last := &users[len(users)-1]; !credential.ID.IsZero() {
			last.Credentials = append(last.Credentials, credential)
		}
	}
	return users, rows.Err()
}

// credentialsIn returns the credentials for which the condition holds.
func credentialsIn(ctx context.Context, q querier, condition string, args ...any) ([]Credential, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+credentialColumns+` FROM credentials WHERE `+condition, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Credential
	for rows.Next() {
		var r credentialRow
		if err := rows.Scan(r.columns()...); err != nil {
			return nil, err
		}
		credential, err := r.credential()
		if err != nil {
			return nil, err
		}
		all = append(all, credential)
	}
	return all, rows.Err()
}

const (
	credentialColumns = `credential_id, user_key, device, sip_username, provisioned, created_at, usable_at, expires_at, vended_at`
	// joinedColumns are those of credentials c, where there may be none.
	joinedColumns = `COALESCE(c.credential_id, ''), COALESCE(c.user_key, ''), COALESCE(c.device, ''), COALESCE(c.sip_username, ''),
		COALESCE(c.provisioned, 0), COALESCE(c.created_at, 0), COALESCE(c.usable_at, 0), COALESCE(c.expires_at, 0), COALESCE(c.vended_at, 0)`
)

// A credentialRow is where a credential's columns are read into.
type credentialRow struct {
	id, user, device, sipUsername                   string
	provisioned, created, usable, expires, vendedAt int64
}

func (r *credentialRow) columns() []any {
	return []any{&r.id, &r.user, &r.device, &r.sipUsername, &r.provisioned, &r.created, &r.usable, &r.expires, &r.vendedAt}
}

// credential returns the zero Credential if there is none.
func (r *credentialRow) credential() (Credential, error) {
	if r.id == "" {
		return Credential{}, nil
	}
	id, err := telnyx.ParseCredentialID(r.id)
	if err != nil {
		return Credential{}, fmt.Errorf("a credential of the books: %w", err)
	}
	return Credential{
		ID: id, User: r.user, Device: directory.Device(r.device), SIPUsername: r.sipUsername, Provisioned: r.provisioned == 1,
		CreatedAt: moment(r.created), UsableAt: moment(r.usable), ExpiresAt: moment(r.expires), VendedAt: moment(r.vendedAt),
	}, nil
}

// inList is the part of a condition that reads texts from the first argument.
func (s *Store) inList() string {
	if s.postgres != nil {
		return `IN (SELECT jsonb_array_elements_text($1::jsonb))`
	}
	return `IN (SELECT value FROM json_each($1))`
}

// asJSON is an argument with many values: however many, it is one.
func asJSON[T any](values []T) string {
	if len(values) == 0 {
		return "[]"
	}
	text, err := json.Marshal(values)
	if err != nil {
		panic("store: texts and numbers make no JSON: " + err.Error())
	}
	return string(text)
}

func texts(ids []telnyx.CredentialID) []string {
	all := make([]string, len(ids))
	for n, id := range ids {
		all[n] = id.String()
	}
	return all
}
