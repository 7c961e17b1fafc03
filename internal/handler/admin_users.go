package handler

import (
	"context"
	"net/http"

	"github.com/tokensvc/tokensvc/internal/directory/store"
)

func (a *Admin) listUsers(ctx context.Context, c *call) error {
	q, err := c.query("limit", "cursor", "search")
	if err != nil {
		return err
	}
	after, err := q.cursor()
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	users, next, err := a.store.Users(ctx, store.List{After: after, Limit: limit, Search: q.text("search")})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, UsersAnswer{each(users, ShownUser), cursorAfter(next)})
}

func (a *Admin) getUser(ctx context.Context, c *call) error {
	user, err := a.userOf(c)
	if err != nil {
		return err
	}
	u, err := a.store.User(ctx, user)
	if err != nil {
		return err
	}
	return c.answerOf(u.Version, http.StatusOK, ShownUser(u))
}

func (a *Admin) putUser(ctx context.Context, c *call) error {
	user, err := a.userOf(c)
	if err != nil {
		return err
	}
	said, err := c.texts("name")
	if err != nil {
		return err
	}
	match, err := a.userMatch(ctx, c, user)
	if err != nil {
		return err
	}
	u, created, err := a.store.PutUser(ctx, c.by, user, said["name"], match)
	if err != nil {
		return err
	}
	a.changed(user)
	return c.answerOf(u.Version, orOK(created), ShownUser(u))
}

func (a *Admin) deleteUser(ctx context.Context, c *call) error {
	user, err := a.userOf(c)
	if err != nil {
		return err
	}
	keep, err := c.keep()
	if err != nil {
		return err
	}
	match, err := a.userMatch(ctx, c, user)
	if err != nil {
		return err
	}
	if err := a.store.Remove(ctx, c.by, user, keep, match); err != nil {
		return err
	}
	a.changed(user)
	return c.done()
}

// keep reads whether what is taken away stays at Telnyx.
func (c *call) keep() (bool, error) {
	q, err := c.query("keep_credential")
	if err != nil {
		return false, err
	}
	return q.flag("keep_credential")
}

func (a *Admin) disableUser(ctx context.Context, c *call) error {
	return a.switchUser(ctx, c, a.store.Disable)
}

func (a *Admin) enableUser(ctx context.Context, c *call) error {
	return a.switchUser(ctx, c, a.store.Enable)
}

func (a *Admin) switchUser(ctx context.Context, c *call, to func(context.Context, store.By, string, store.Match) (store.User, error)) error {
	user, err := a.userOf(c)
	if err != nil {
		return err
	}
	match, err := a.userMatch(ctx, c, user)
	if err != nil {
		return err
	}
	u, err := to(ctx, c.by, user, match)
	if err != nil {
		return err
	}
	a.changed(user)
	return c.answerOf(u.Version, http.StatusOK, ShownUser(u))
}
