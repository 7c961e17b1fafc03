package main

import (
	"context"
	"errors"
	"flag"
	"math"
	"slices"
	"strconv"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func declareList(u *usersRun, flags *flag.FlagSet) {
	flags.StringVar(&u.search, "search", "", "only those with this `text` in their user key or name")
}

func listUsers(ctx context.Context, u *usersRun) error {
	return u.eachPage(ctx, func(page []handler.UserAnswer, first bool) error {
		if u.json {
			for _, user := range page {
				u.sayJSON(user)
			}
			return nil
		}
		return sayUsers(u.t.out, page, first)
	})
}

// eachPage goes through all of the users that are searched for.
func (u *usersRun) eachPage(ctx context.Context, do func(page []handler.UserAnswer, first bool) error) error {
	after := ""
	for first := true; first || after != ""; first = false {
		page, next, err := u.books.users(ctx, after, u.search, store.MaxPage)
		if err != nil {
			return err
		}
		if err := do(page, first); err != nil {
			return err
		}
		after = next
	}
	return nil
}

func showUser(ctx context.Context, u *usersRun) error {
	user, err := u.books.user(ctx, u.args[0])
	if err != nil {
		return err
	}
	return u.show(user)
}

func (u *usersRun) show(user handler.UserAnswer) error {
	if u.json {
		u.sayJSON(user)
		return nil
	}
	return sayUser(u.t.out, user)
}

func declareAdd(u *usersRun, flags *flag.FlagSet) {
	flags.Func("name", "the user's `name`, for people to read", func(s string) error { u.name = &s; return nil })
	flags.StringVar(&u.credential, "credential", "", "`UUID` of a telephony credential that is at Telnyx already")
	flags.StringVar(&u.device, "device", "", "the `label` of the device that it is for; without one, the device "+strconv.Quote(string(directory.DefaultDevice)))
}

func addUser(ctx context.Context, u *usersRun) error {
	device, err := deviceOr(u.device, directory.DefaultDevice)
	if err != nil {
		return err
	}
	var id telnyx.CredentialID
	switch {
	case u.credential == "" && u.device != "":
		return misused("-device says whose the -credential is, which is missing")
	case u.credential != "":
		if id, err = telnyx.ParseCredentialID(u.credential); err != nil {
			return misused("-credential: %w", err)
		}
	}
	if err := u.books.mayAdd(ctx, u.args[0], device); err != nil {
		return err
	}
	if err := u.put(ctx); err != nil {
		return err
	}
	if !id.IsZero() {
		if err := u.books.assign(ctx, u.args[0], device, id); err != nil {
			return err
		}
	}
	return showUser(ctx, u)
}

// put makes the user if need be, and gives it the name if there is one.
func (u *usersRun) put(ctx context.Context) error {
	name := ""
	if u.name != nil {
		name = *u.name
	}
	there, err := u.books.user(ctx, u.args[0])
	switch {
	case errors.Is(err, errNoUser):
		_, err = u.books.put(ctx, u.args[0], name, false)
	case err == nil && u.name != nil && name != there.Name:
		_, err = u.books.put(ctx, u.args[0], name, true)
	}
	return err
}

func disableUser(ctx context.Context, u *usersRun) error {
	user, err := u.books.disable(ctx, u.args[0])
	if err != nil {
		return err
	}
	return u.said(user, "%s is disabled: no further token, and the service deletes the user's credentials at Telnyx\n")
}

func enableUser(ctx context.Context, u *usersRun) error {
	user, err := u.books.enable(ctx, u.args[0])
	if err != nil {
		return err
	}
	if len(user.Devices) > 0 { // never was disabled
		return u.said(user, "%s is enabled\n")
	}
	return u.said(user, "%[1]s is enabled, and has no credential: "+u.books.firstLogin()+"\n")
}

// said says what has become of a user.
func (u *usersRun) said(user handler.UserAnswer, words string) error {
	if u.json {
		u.sayJSON(user)
		return nil
	}
	say(u.t.out, words, oneLine(user.User))
	return nil
}

func declareRemove(u *usersRun, flags *flag.FlagSet) {
	flags.StringVar(&u.device, "device", "", "the `label` of the device to take away from the user, who stays")
	flags.BoolVar(&u.keep, "keep-credentials", false, "do not delete anything at Telnyx")
}

func removeUser(ctx context.Context, u *usersRun) error {
	device, err := deviceOr(u.device, "")
	if err != nil {
		return err
	}
	before, err := u.books.user(ctx, u.args[0])
	if err != nil {
		return err
	}
	fate := "the service deletes at Telnyx what was the user's"
	if u.keep {
		fate = "nothing is deleted at Telnyx"
	}
	if device != "" {
		if !hasDevice(before, device) {
			return &noDeviceError{before.User, device}
		}
		if err := u.books.unassign(ctx, u.args[0], device, u.keep); err != nil {
			return err
		}
		return u.removed(before.User, "%s has lost the device, and %s\n", fate)
	}
	if err := u.books.remove(ctx, u.args[0], u.keep); err != nil {
		return err
	}
	return u.removed(before.User, "%s is removed, and %s\n", fate)
}

func hasDevice(u handler.UserAnswer, device directory.Device) bool {
	return slices.ContainsFunc(u.Devices, func(d handler.DeviceAnswer) bool { return d.Device == device })
}

func (u *usersRun) removed(user, words, fate string) error {
	if u.json {
		u.sayJSON(struct {
			User   string `json:"user"`
			Device string `json:"device,omitempty"`
			Gone   bool   `json:"removed"`
		}{user, u.device, true})
		return nil
	}
	say(u.t.out, words, oneLine(user), fate)
	return nil
}

func declareEvents(u *usersRun, flags *flag.FlagSet) {
	flags.IntVar(&u.limit, "limit", 100, "how `many` at most; 0 for all")
}

func listEvents(ctx context.Context, u *usersRun) error {
	user := ""
	if len(u.args) > 0 {
		user = u.args[0]
	}
	left := u.limit
	switch {
	case left < 0:
		return misused("-limit must be 0 or more")
	case left == 0:
		left = math.MaxInt
	}
	var before int64
	for first := true; left > 0; first = false {
		page, err := u.books.events(ctx, user, before, min(left, store.MaxPage))
		if err != nil {
			return err
		}
		if err := u.sayEvents(page, first); err != nil {
			return err
		}
		if len(page) < min(left, store.MaxPage) {
			return nil
		}
		left, before = left-len(page), page[len(page)-1].Number
	}
	return nil
}
