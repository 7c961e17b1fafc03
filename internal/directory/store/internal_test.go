package store

import (
	"context"
	"database/sql"
)

// FlushVended is what Run does every few seconds.
func FlushVended(ctx context.Context, s *Store) error { return s.flushVended(ctx) }

// ExecWriting executes a statement on a connection for changes.
func ExecWriting(ctx context.Context, s *Store, statement string) error {
	_, err := s.writes.ExecContext(ctx, statement)
	return err
}

// HoldLists takes all connections that lists are made with, until release.
func HoldLists(ctx context.Context, s *Store) (release func(), err error) {
	var held []*sql.Conn
	release = func() {
		for _, connection := range held {
			_ = connection.Close()
		}
	}
	for range s.lists.Stats().MaxOpenConnections {
		connection, err := s.lists.Conn(ctx)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, connection)
	}
	return release, nil
}

// How long an answer, a change, and a pause of an import may take.
const (
	PauseTimeout  = pauseTimeout
	AnswerTimeout = answerTimeout
	ChangeTimeout = changeTimeout
)
