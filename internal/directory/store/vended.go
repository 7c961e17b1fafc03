package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// maxVended bounds how many credentials wait to have it written down that they
	// were vended. Of more than that within flushEvery, some go unrecorded.
	maxVended = 100_000
	// flushEvery is how often they are written down.
	flushEvery = 10 * time.Second
	// flushBatch is how many are written down in one change.
	flushBatch = 1000
)

// vended is when tokens were last handed out, as far as it is not in the database
// yet. Every request for one notes it, so there are several, by the last letter of the
// credential's id, which is random: whoever would wait for one another seldom does.
type vended [vendedParts]vendedPart

const vendedParts = 32 // more than the letters of an id, modulo which they differ

type vendedPart struct {
	mu sync.Mutex
	at map[string]int64 // of a credential
}

func newVended() *vended {
	v := new(vended)
	for i := range v {
		v[i].at = make(map[string]int64)
	}
	return v
}

// Vended remembers that a token of the credential was just handed out. It does not
// wait: Run writes it down within a few seconds, or it is lost if the process dies.
func (s *Store) Vended(id telnyx.CredentialID, at time.Time) {
	s.vended.add(id.String(), at.UnixMilli())
}

func (v *vended) add(id string, at int64) {
	part := &v[id[len(id)-1]%vendedParts]
	part.mu.Lock()
	defer part.mu.Unlock()
	if before, known := part.at[id]; known || len(part.at) < maxVended/16 { // as many letters as there are
		part.at[id] = max(before, at)
	}
}

// take empties the list.
func (v *vended) take() map[string]int64 {
	all := make(map[string]int64)
	for i := range v {
		part := &v[i]
		part.mu.Lock()
		maps.Copy(all, part.at)
		clear(part.at)
		part.mu.Unlock()
	}
	return all
}

// Run writes down what was vended, every few seconds until ctx is done; Close
// writes the rest. What cannot be written is tried again.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = s.flushVended(ctx) // whether the database answers is said where it matters
		}
	}
}

// flushVended writes down what was vended, some at a time, so that nobody who
// changes the books waits long.
func (s *Store) flushVended(ctx context.Context) error {
	all := s.vended.take()
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(all)), flushBatch) {
		if err := s.flush(ctx, ids, all); err != nil {
			for id, at := range all {
				s.vended.add(id, at)
			}
			return err
		}
		for _, id := range ids {
			delete(all, id)
		}
	}
	return nil
}

// flush is a change, although without an event: two replicas that write about the
// same credentials must not wait for one another.
func (s *Store) flush(ctx context.Context, ids []string, all map[string]int64) error {
	batch := make(map[string]int64, len(ids))
	for _, id := range ids {
		batch[id] = all[id]
	}
	text, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	each := `json_each`
	if s.postgres != nil {
		each = `json_each_text`
	}
	return s.change(ctx, By{}, func(c *change) error {
		return c.exec(`UPDATE credentials SET vended_at = CAST(v.value AS BIGINT) FROM `+each+`($1) AS v
			WHERE credential_id = v.key AND vended_at < CAST(v.value AS BIGINT)`, string(text))
	})
}
