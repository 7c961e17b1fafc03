package handler

import (
	"context"
	"math"
	"net/http"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func (a *Admin) listCredentials(ctx context.Context, c *call) error {
	q, err := c.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	cursor, err := q.cursor()
	if err != nil {
		return err
	}
	var after telnyx.CredentialID
	if cursor != "" {
		if after, err = telnyx.ParseCredentialID(cursor); err != nil {
			return errCursor
		}
	}
	credentials, next, err := a.store.Credentials(ctx, after, limit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Credentials []credentialAnswer `json:"credentials"`
		Next        string             `json:"next_cursor,omitempty"`
	}{each(credentials, shownCredential), cursorAfter(next.String())})
}

func (a *Admin) getCredential(ctx context.Context, c *call) error {
	text, err := c.segment("id")
	if err != nil {
		return err
	}
	id, err := c.credential(text)
	if err != nil {
		return err
	}
	credential, err := a.store.Credential(ctx, id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, shownCredential(credential))
}

func (a *Admin) listEvents(ctx context.Context, c *call) error {
	q, err := c.query("user", "before", "limit")
	if err != nil {
		return err
	}
	wanted := store.EventList{}
	if q.text("user") != "" {
		if wanted.User, err = a.userKey(q.text("user")); err != nil {
			return err
		}
		c.ev.admin.target = wanted.User
	}
	if wanted.Before, err = q.number("before", math.MaxInt64); err != nil {
		return err
	}
	if wanted.Limit, err = q.limit(); err != nil {
		return err
	}
	events, err := a.store.Events(ctx, wanted)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, EventsAnswer{each(events, ShownEvent)})
}
