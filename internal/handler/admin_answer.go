package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// adminMeanings is what errors mean to somebody who administers, first match wins.
// To a caller of the public listener some of them mean another thing.
var adminMeanings = []struct {
	err     error
	outcome Outcome
	detail  string // in place of the outcome's own, if not empty
}{
	{context.Canceled, Canceled, ""},
	{authz.ErrDenied, Denied, "A rule of this service does not allow you to administer it."},
	{store.ErrNotFound, NotFound, "The directory has no such user, device or credential."},
	{store.ErrChanged, PreconditionFailed, ""},
	{store.ErrTaken, Conflict, "The credential is another user's, or another device's: take it away from there first."},
	{store.ErrDeleting, Conflict, "The credential is about to be deleted at Telnyx."},
	{directory.ErrDisabled, Conflict, "The user is disabled, and can have no credential until enabled."},
	{store.ErrInvalid, BadRequest, "A value is empty, too long, or not printable."},
	{directory.ErrUnavailable, DirectoryUnavailable, "The directory does not answer now. If this was to change it, it may have been changed or not."},
}

// adminError gives an error the meaning that it has here.
func adminError(err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*requestError](err); ours {
		return err
	}
	for _, m := range adminMeanings {
		if errors.Is(err, m.err) {
			return fmt.Errorf("%w: %w", &requestError{outcome: m.outcome, detail: m.detail}, err)
		}
	}
	return err
}

// answer ends a call well.
func (c *call) answer(status int, v any) error {
	c.ev.status = status
	writeJSON(c.w, status, "application/json", v)
	return nil
}

// answerOf is answer with something of a user of that version.
func (c *call) answerOf(version int64, status int, v any) error {
	c.w.Header().Set("Etag", etag(version))
	return c.answer(status, v)
}

// done ends a call well of which there is nothing more to say.
func (c *call) done() error {
	c.ev.status = http.StatusNoContent
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// orOK is the status of what was there before, or was made.
func orOK(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// UserAnswer is a user as the admin API tells of one.
type UserAnswer struct {
	User       string         `json:"user"`
	Name       string         `json:"name"`
	Disabled   bool           `json:"disabled"`
	DisabledAt string         `json:"disabled_at,omitempty"`
	CreatedAt  string         `json:"created_at"`
	Version    int64          `json:"version"`
	Devices    []DeviceAnswer `json:"devices"`
}

// DeviceAnswer is what a user's device has.
type DeviceAnswer struct {
	Device       directory.Device `json:"device"`
	Credential   string           `json:"credential_id"`
	SIPUsername  string           `json:"sip_username"`
	Provisioned  bool             `json:"provisioned"`
	CreatedAt    string           `json:"created_at"`
	UsableAt     string           `json:"usable_at,omitempty"`
	ExpiresAt    string           `json:"expires_at,omitempty"`
	LastVendedAt string           `json:"last_vended_at,omitempty"`
}

// credentialAnswer is a device and whose it is.
type credentialAnswer struct {
	User string `json:"user"`
	DeviceAnswer
}

// EventAnswer is a change that was made.
type EventAnswer struct {
	Number     int64            `json:"number"`
	At         string           `json:"at"`
	Actor      string           `json:"actor"`
	RequestID  string           `json:"request_id,omitempty"`
	Action     store.Action     `json:"action"`
	User       string           `json:"user,omitempty"`
	Device     directory.Device `json:"device,omitempty"`
	Credential string           `json:"credential_id,omitempty"`
	Detail     string           `json:"detail,omitempty"`
}

// UsersAnswer is a page of users.
type UsersAnswer struct {
	Users []UserAnswer `json:"users"`
	Next  string       `json:"next_cursor,omitempty"` // "" if these are the last
}

// EventsAnswer is a page of events.
type EventsAnswer struct {
	Events []EventAnswer `json:"events"`
}

// ShownUser is what is told of a user.
func ShownUser(u store.User) UserAnswer {
	return UserAnswer{
		User: u.Key, Name: u.Name, Disabled: !u.DisabledAt.IsZero(), DisabledAt: timestamp(u.DisabledAt),
		CreatedAt: timestamp(u.CreatedAt), Version: u.Version, Devices: each(u.Credentials, shownDevice),
	}
}

func shownDevice(c store.Credential) DeviceAnswer {
	return DeviceAnswer{
		Device: c.Device, Credential: c.ID.String(), SIPUsername: c.SIPUsername, Provisioned: c.Provisioned,
		CreatedAt: timestamp(c.CreatedAt), UsableAt: timestamp(c.UsableAt), ExpiresAt: timestamp(c.ExpiresAt), LastVendedAt: timestamp(c.VendedAt),
	}
}

func shownCredential(c store.Credential) credentialAnswer {
	return credentialAnswer{c.User, shownDevice(c)}
}

// ShownEvent is what is told of an event.
func ShownEvent(e store.Event) EventAnswer {
	return EventAnswer{
		Number: e.Number, At: timestamp(e.At), Actor: e.By.Actor, RequestID: e.By.RequestID, Action: e.Action,
		User: e.User, Device: e.Device, Credential: shown(e.Credential), Detail: e.Detail,
	}
}

// each is the list of what show makes of all, and never null.
func each[T, U any](all []T, show func(T) U) []U {
	list := make([]U, len(all))
	for i, one := range all {
		list[i] = show(one)
	}
	return list
}
