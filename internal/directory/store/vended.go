package store

import (
	"context"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// maxVended bounds how many vendings wait to be written down. It is a fifth more
// than there are in a busy minute; of more than that, some go unrecorded.
const maxVended = 100_000

// vended is when tokens were last handed out, as far as it is not in the database
// yet.
type vended struct {
	mu sync.Mutex
	at map[telnyx.CredentialID]int64
}

func newVended() *vended { return &vended{at: make(map[telnyx.CredentialID]int64)} }

// Vended remembers that a token of the credential was just handed out. It does not
// wait: it is written down within a few seconds, or never if the process dies.
func (s *Store) Vended(id telnyx.CredentialID, at time.Time) {
	s.vended.mu.Lock()
	defer s.vended.mu.Unlock()
	if _, known := s.vended.at[id]; known || len(s.vended.at) < maxVended {
		s.vended.at[id] = at.UnixMilli()
	}
}

// take empties the list.
func (v *vended) take() map[telnyx.CredentialID]int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.at
	v.at = make(map[telnyx.CredentialID]int64)
	return all
}

func (s *Store) flushVended(ctx context.Context) error {
	all := s.vended.take()
	if len(all) == 0 {
		return nil
	}
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	update, err := tx.PrepareContext(ctx, `UPDATE credentials SET vended_at = $1 WHERE credential_id = $2 AND vended_at < $1`)
	if err != nil {
		return unavailable(err)
	}
	for id, at := range all {
		if _, err := update.ExecContext(ctx, at, id.String()); err != nil {
			return unavailable(err)
		}
	}
	return unavailable(tx.Commit())
}
