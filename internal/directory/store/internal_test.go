package store

import "context"

// FlushVended is what Run does every few seconds.
func FlushVended(ctx context.Context, s *Store) error { return s.flushVended(ctx) }

// ExecWriting executes a statement on the connection that writes to SQLite.
func ExecWriting(ctx context.Context, s *Store, statement string) error {
	_, err := s.writes.ExecContext(ctx, statement)
	return err
}

// How long an answer, and a change, may take.
const (
	AnswerTimeout = answerTimeout
	ChangeTimeout = changeTimeout
)
