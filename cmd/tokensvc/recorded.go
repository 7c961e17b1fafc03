package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/handler"
)

// recorded has a command that is to change something do it between the records of that,
// if there is a file for them. In standard output are a command's answers: what it has
// changed is then in the directory's events alone.
func (a AuditConfig) recorded(changes bool, r audit.Record, do func() error) (err error) {
	if !changes || a.File == "" || a.File == standardOutput {
		return do()
	}
	trail, err := a.open(nil, nil)
	if err == nil {
		err = trail.Begin()
	}
	switch {
	case err != nil && a.OnFailure != onFailureVend:
		return fmt.Errorf("audit.file: %w: nothing is changed that cannot be recorded", err)
	case trail == nil:
		return errors.Join(do(), fmt.Errorf("audit.file: %w: this was not recorded", err))
	}
	r.What, r.Actor, r.Outcome = audit.Admin, actor(), cmp.Or(r.Outcome, "internal") // what a panic leaves
	defer func() { err = errors.Join(err, trail.Close(r)) }()
	err = do()
	r.Outcome = commandOutcome(err)
	return err
}

// commandOutcome is the word for what became of a change by a command.
func commandOutcome(err error) string {
	_, misused := errors.AsType[usageError](err)
	switch {
	case misused:
		return string(handler.BadRequest)
	case errors.Is(err, errNoUser):
		return string(handler.NotFound)
	case errors.Is(err, errSaid): // of some lines, and the others were taken
		err = nil
	}
	return outcomeWord(err)
}

// runRecorded runs a sub-command of users, with a record if it changes something.
func (c usersCommand) runRecorded(ctx context.Context, u *usersRun, records AuditConfig) error {
	r := audit.Record{Action: "users " + c.name, Device: u.device}
	if books, ok := u.books.(*storeBooks); ok && c.name != "import" && len(u.args) > 0 {
		r.Target, _ = books.key(u.args[0]) // what is no user's is refused
	}
	return records.recorded(c.changes && !u.dryRun, r, func() error { return c.run(ctx, u) })
}
