package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// pauseTimeout is how long an ImportAtomic, which holds up all who change the books,
// may wait for the next rows.
const pauseTimeout = time.Minute

// A pause is the time from one Add to the next.
type pause struct {
	timer *time.Timer
	over  context.CancelFunc // rolls back
}

// begin begins a pause.
func (p pause) begin() { p.timer.Reset(pauseTimeout) }

// end ends a pause. The error is directory.ErrUnavailable if it took too long.
func (p pause) end() error {
	if p.timer.Stop() {
		return nil
	}
	return fmt.Errorf("%w: no rows of an import came for %v", directory.ErrUnavailable, pauseTimeout)
}

// beginWhole begins the one change that an ImportAtomic is.
func (i *Import) beginWhole(ctx context.Context) error {
	ctx, over := context.WithCancel(ctx)
	whole, err := i.store.begin(ctx, i.by)
	if err == nil {
		err = whole.allowPauses()
	}
	if err != nil {
		over() // rolls back
		return err
	}
	i.whole, i.pause = whole, pause{time.AfterFunc(pauseTimeout, over), over}
	return nil
}

// allowPauses has PostgreSQL wait as long as we do, and no longer: this process may
// be stopped, or cut off.
func (c *change) allowPauses() error {
	if c.store.postgres == nil {
		return nil
	}
	return c.exec(`SELECT set_config('idle_in_transaction_session_timeout', $1, true)`, strconv.FormatInt(pauseTimeout.Milliseconds(), 10))
}
