package store

import "context"

// FlushVended is what Run does every few seconds.
func FlushVended(ctx context.Context, s *Store) error { return s.flushVended(ctx) }
