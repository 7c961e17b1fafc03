package handler

import (
	"context"
	"net/http"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

func (a *Admin) listDevices(ctx context.Context, c *call) error {
	user, err := a.userOf(c)
	if err != nil {
		return err
	}
	u, err := a.store.User(ctx, user)
	if err != nil {
		return err
	}
	return c.answerOf(u.Version, http.StatusOK, struct {
		Devices []DeviceAnswer `json:"devices"`
	}{each(u.Credentials, shownDevice)})
}

func (a *Admin) getDevice(ctx context.Context, c *call) error {
	user, device, err := a.deviceOf(c)
	if err != nil {
		return err
	}
	u, err := a.store.User(ctx, user)
	if err != nil {
		return err
	}
	held, there := u.On(device)
	if !there {
		return store.ErrNotFound
	}
	c.ev.credential = held.ID
	return c.answerOf(u.Version, http.StatusOK, shownDevice(held))
}

func (a *Admin) putDevice(ctx context.Context, c *call) error {
	user, device, err := a.deviceOf(c)
	if err != nil {
		return err
	}
	if a.shared && roster.CheckShared(device) != nil {
		return badRequest(roster.ErrShared.Error() + ". Here that is the device " + string(directory.DefaultDevice) + ".")
	}
	said, err := c.texts("credential_id", "sip_username")
	if err != nil {
		return err
	}
	id, err := c.credential(said["credential_id"])
	if err != nil {
		return err
	}
	match, err := a.deviceMatch(ctx, c, user, device)
	if err != nil {
		return err
	}
	assigned, created, err := a.store.Assign(ctx, c.by, user, device, store.Assignment{ID: id, SIPUsername: said["sip_username"]}, match)
	if err != nil {
		return err
	}
	a.changed(user)
	return a.answerAssigned(ctx, c, assigned, orOK(created))
}

// answerAssigned answers with a device as it is after a change of it, and the
// user's version then. If meanwhile it is something else, or cannot be read, the
// change was made all the same: then there is no ETag.
func (a *Admin) answerAssigned(ctx context.Context, c *call, assigned store.Credential, status int) error {
	u, err := a.store.User(ctx, assigned.User)
	now, _ := u.On(assigned.Device)
	if err != nil || now.ID != assigned.ID {
		return c.answer(status, shownDevice(assigned))
	}
	return c.answerOf(u.Version, status, shownDevice(now))
}

func (a *Admin) deleteDevice(ctx context.Context, c *call) error {
	user, device, err := a.deviceOf(c)
	if err != nil {
		return err
	}
	keep, err := c.keep()
	if err != nil {
		return err
	}
	match, err := a.deviceMatch(ctx, c, user, device)
	if err != nil {
		return err
	}
	if err := a.store.Unassign(ctx, c.by, user, device, keep, match); err != nil {
		return err
	}
	a.changed(user)
	return c.done()
}
