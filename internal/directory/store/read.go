package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// defaultPage is how many are listed when the caller does not say.
const defaultPage = 100

// Found is what the books say about a user's device.
type Found struct {
	Known      bool // the user is in the books
	Disabled   bool
	Credential Credential // its ID is zero if there is none
}

// A List says which users are wanted.
type List struct {
	After  string // the last key that was seen, or "" for the first page
	Limit  int    // 1 to MaxPage; 0 is 100
	Search string // a part of the key or the name, whatever the case of A to Z; "" for all
}

// Counts is how much there is in the books.
type Counts struct {
	Users, Disabled, Credentials, Deletions int64

	OldestDeletion time.Time // zero if there are none
}

// Lookup returns what the user's device has. The only error is
// directory.ErrUnavailable.
func (s *Store) Lookup(ctx context.Context, user string, device directory.Device) (Found, error) {
	if checkKey(user) != nil { // in no books, and PostgreSQL would choke on it
		return Found{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var disabledAt int64
	var r credentialRow
	err := s.reads.QueryRowContext(ctx, `SELECT u.disabled_at, `+joinedColumns+`
		FROM users u LEFT JOIN credentials c ON c.user_key = u.user_key AND c.device = $2
		WHERE u.user_key = $1`, user, string(device)).Scan(append([]any{&disabledAt}, r.columns()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return Found{}, nil
	}
	if err != nil {
		return Found{}, unavailable(err)
	}
	credential, err := r.credential()
	return Found{Known: true, Disabled: disabledAt > 0, Credential: credential}, unavailable(err)
}

// User returns a user with its credentials, ordered by device. The error is ErrNotFound
// or directory.ErrUnavailable.
func (s *Store) User(ctx context.Context, key string) (User, error) {
	if checkKey(key) != nil {
		return User{}, ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	u, err := userIn(ctx, s.reads, key)
	return u, unavailable(err)
}

// Users lists users with their credentials, ordered by key, and returns the After
// of the next page, which is "" at the end. Users that are added meanwhile appear
// if they come later in the order; none appears twice. Lists wait for one another,
// and logins for none. The error is ErrInvalid or directory.ErrUnavailable.
func (s *Store) Users(ctx context.Context, l List) (users []User, next string, err error) {
	limit, err := pageOf(l.Limit)
	if err != nil {
		return nil, "", err
	}
	if !printable(l.After, MaxKeyBytes) || !printable(l.Search, MaxKeyBytes) {
		return nil, "", invalid("After and Search have at most %d bytes of printable characters", MaxKeyBytes)
	}
	where, args := `user_key > $1`, []any{l.After, limit + 1}
	if l.Search != "" {
		where += fmt.Sprintf(` AND (user_key %[1]s $3 ESCAPE '\' OR name %[1]s $3 ESCAPE '\')`, s.like())
		args = append(args, "%"+likeEscaper.Replace(l.Search)+"%")
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	users, err = usersIn(ctx, s.lists, where+` ORDER BY user_key LIMIT $2`, args...)
	if err != nil {
		return nil, "", unavailable(err)
	}
	if len(users) > limit {
		users = users[:limit]
		next = users[limit-1].Key
	}
	return users, next, nil
}

// like is the comparison that knows no case: that of both knows the case of no
// letter beyond A to Z in these columns.
func (s *Store) like() string {
	if s.postgres != nil {
		return "ILIKE"
	}
	return "LIKE"
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// pageOf returns how many are to be listed.
func pageOf(limit int) (int, error) {
	switch {
	case limit == 0:
		return defaultPage, nil
	case limit < 0 || limit > MaxPage:
		return 0, invalid("a page has 1 to %d", MaxPage)
	}
	return limit, nil
}

// Credential returns a credential of the books. The error is ErrNotFound
// or directory.ErrUnavailable.
func (s *Store) Credential(ctx context.Context, id telnyx.CredentialID) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	all, err := credentialsIn(ctx, s.reads, `credential_id = $1`, id.String())
	switch {
	case err != nil:
		return Credential{}, unavailable(err)
	case len(all) == 0:
		return Credential{}, ErrNotFound
	}
	return all[0], nil
}

// Credentials lists credentials, ordered by id. The limit is as in List, and next
// is zero at the end. The error is ErrInvalid or directory.ErrUnavailable.
func (s *Store) Credentials(ctx context.Context, after telnyx.CredentialID, limit int) (all []Credential, next telnyx.CredentialID, err error) {
	if limit, err = pageOf(limit); err != nil {
		return nil, next, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	all, err = credentialsIn(ctx, s.lists, `credential_id > $1 ORDER BY credential_id LIMIT $2`, after.String(), limit+1)
	if err != nil {
		return nil, next, unavailable(err)
	}
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].ID
	}
	return all, next, nil
}

// Counts counts. The only error is directory.ErrUnavailable.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var c Counts
	var oldest int64
	err := s.lists.QueryRowContext(ctx, `SELECT u.n, u.disabled, c.n, d.n, d.oldest FROM
		(SELECT count(*) AS n, count(CASE WHEN disabled_at > 0 THEN 1 END) AS disabled FROM users) u,
		(SELECT count(*) AS n FROM credentials) c,
		(SELECT count(*) AS n, COALESCE(min(since), 0) AS oldest FROM deletions) d`).
		Scan(&c.Users, &c.Disabled, &c.Credentials, &c.Deletions, &oldest)
	c.OldestDeletion = moment(oldest)
	return c, unavailable(err)
}

// eachID calls do with each of the ids that the query returns.
func eachID(ctx context.Context, q querier, do func(telnyx.CredentialID), query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		id, err := telnyx.ParseCredentialID(text)
		if err != nil {
			return fmt.Errorf("a credential of the books: %w", err)
		}
		do(id)
	}
	return rows.Err()
}
