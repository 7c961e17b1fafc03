package store

import (
	"context"
	"hash/maphash"
	"time"
)

// Add takes up to MaxBatch rows and returns a verdict on each. With an error come
// the verdicts on those before the first that was not taken, of an ImportEach; of
// others none was. It is ErrInvalid, if they are too many, of which none is taken,
// or directory.ErrUnavailable, after which no more is taken.
func (i *Import) Add(ctx context.Context, rows []Row) ([]Verdict, error) {
	switch {
	case i.over != nil:
		return nil, i.over
	case len(rows) > MaxBatch || i.rows+len(rows) > MaxRows:
		return nil, invalid("at most %d rows at once, and %d in all", MaxBatch, MaxRows)
	}
	if i.whole != nil {
		if i.over = i.pause.end(); i.over != nil {
			return nil, i.over
		}
		defer i.pause.begin()
	}
	i.rows += len(rows)
	verdicts := make([]Verdict, len(rows))
	good := make([]int, 0, len(rows)) // indexes of the rows that go on
	for n, row := range rows {
		verdicts[n] = Verdict{Line: row.Line, Err: i.check(row)}
		if verdicts[n].Err == nil {
			good = append(good, n)
		}
	}
	decided, err := i.decide(ctx, rows, good, verdicts)
	if err != nil {
		i.over = err
		if i.mode != ImportEach {
			return nil, err
		}
		verdicts = verdicts[:good[decided]]
	}
	for _, v := range verdicts {
		i.refused = i.refused || v.Err != nil
	}
	return verdicts, err
}

// decide returns how many of the good rows have their verdict.
func (i *Import) decide(ctx context.Context, rows []Row, good []int, verdicts []Verdict) (decided int, err error) {
	for decided < len(good) && err == nil {
		n, left := 0, good[decided:]
		switch i.mode {
		case ImportEach:
			n, err = i.writeSome(ctx, rows, left, verdicts)
		case ImportAtomic:
			i.whole.ctx = ctx
			n, err = i.step(i.whole, rows, left, verdicts)
			err = unavailable(err)
		case ImportDryRun:
			n, err = i.pretendStep(ctx, rows, left, verdicts)
			err = unavailable(err)
		}
		decided += n
	}
	return decided, err
}

const (
	// stepRows is how many rows are read, decided and written at once.
	stepRows = 1000
	// holdUp is how long one change of an ImportEach takes more rows. With the commit
	// that is about half a second, for which others wait.
	holdUp = 250 * time.Millisecond
	// handOver is how much later the next one begins on SQLite, which has no queue:
	// whoever waits looks at least once meanwhile. PostgreSQL has one.
	handOver = longestPause + 5*time.Millisecond
)

// writeSome writes as many of the good rows as there is time for, and returns how
// many these are. The more there are, the less is written twice: most of them are
// on the same pages as others.
func (i *Import) writeSome(ctx context.Context, rows []Row, good []int, verdicts []Verdict) (written int, err error) {
	if i.store.postgres == nil {
		i.handOver(ctx)
	}
	err = i.store.change(ctx, i.by, func(c *change) error {
		for began := time.Now(); written == 0 || written < len(good) && time.Since(began) < holdUp; {
			n, err := i.step(c, rows, good[written:], verdicts)
			if err != nil {
				return err
			}
			written += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	i.written = time.Now()
	return written, nil
}

// handOver waits until whoever waited for the last change to be over has begun.
func (i *Import) handOver(ctx context.Context) {
	wait := time.NewTimer(time.Until(i.written.Add(handOver)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// step decides and writes some of the good rows, and returns how many.
func (i *Import) step(c *change, rows []Row, good []int, verdicts []Verdict) (n int, err error) {
	good = good[:min(len(good), stepRows)]
	b, err := i.store.readBatch(c.ctx, c, rows, good)
	if err != nil {
		return 0, err
	}
	b.at, b.last = c.at, c.last
	b.decide(rows, good, verdicts)
	if err := c.write(b); err != nil {
		return 0, err
	}
	return len(good), nil
}

// pretendStep is step for a dry run.
func (i *Import) pretendStep(ctx context.Context, rows []Row, good []int, verdicts []Verdict) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	good = good[:min(len(good), stepRows)]
	b, err := i.store.readBatch(ctx, i.store.reads, rows, good)
	if err != nil {
		return 0, err
	}
	b.at = i.store.now().UnixMilli()
	i.pretend.before(b, rows, good)
	b.decide(rows, good, verdicts)
	i.pretend.after(b)
	return len(good), nil
}

// check says what is wrong with a row by itself, or beside those before it.
func (i *Import) check(r Row) error {
	if err := r.check(); err != nil {
		return err
	}
	device := maphash.Comparable(i.seed, [2]string{r.User, string(r.Device)})
	if line, twice := i.devices[device]; twice {
		return invalid("the same user and device as in line %d", line)
	}
	i.devices[device] = r.Line
	if r.Credential.IsZero() {
		return nil
	}
	id := maphash.Comparable(i.seed, r.Credential)
	if line, twice := i.credentials[id]; twice {
		return invalid("the same credential as in line %d", line)
	}
	i.credentials[id] = r.Line
	return nil
}

func (r Row) check() error {
	if err := checkKey(r.User); err != nil {
		return err
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.Credential.IsZero() {
		return nil
	}
	if r.Disabled != nil && *r.Disabled {
		return invalid("a disabled user has no credential")
	}
	return Assignment{ID: r.Credential, SIPUsername: r.SIPUsername}.check(r.Device)
}
