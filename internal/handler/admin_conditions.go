package handler

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// conditions are what If-Match and If-None-Match say (RFC 9110 section 13.1).
type conditions struct {
	any      bool    // there must be something
	none     bool    // there must be nothing
	versions []int64 // it must have one of these
}

var errCondition = badRequest(`If-Match is * or ETags like "7", strong ones; If-None-Match can only be *; and only one of them can be sent.`)

func (c *call) conditions() (all conditions, err error) {
	match, noneMatch := c.r.Header["If-Match"], c.r.Header["If-None-Match"]
	switch {
	case match == nil && noneMatch == nil:
		return conditions{}, nil
	case match == nil && len(noneMatch) == 1 && strings.TrimSpace(noneMatch[0]) == "*":
		return conditions{none: true}, nil
	case noneMatch != nil:
		return conditions{}, errCondition
	case len(match) == 1 && strings.TrimSpace(match[0]) == "*":
		return conditions{any: true}, nil
	}
	versions, ok := versionsOf(strings.Join(match, ","))
	if !ok {
		return conditions{}, errCondition
	}
	return conditions{versions: versions}, nil
}

// notOurs is the version of an ETag that we have never made: nothing has it.
const notOurs = -1

// versionsOf reads a list of strong ETags (RFC 9110 section 8.8.3).
func versionsOf(list string) (versions []int64, ok bool) {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return versions, len(versions) > 0
		}
		tag, rest, closed := strings.Cut(list[1:], `"`)
		rest = strings.TrimLeft(rest, " \t")
		if list[0] != '"' || !closed || rest != "" && rest[0] != ',' || strings.ContainsAny(tag, " \t") {
			return nil, false
		}
		version, err := strconv.ParseInt(tag, 10, 64)
		if err != nil || version < 1 || etag(version) != `"`+tag+`"` {
			version = notOurs
		}
		versions, list = append(versions, version), rest
	}
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// userMatch is what a call asks of a user before it is changed.
func (a *Admin) userMatch(ctx context.Context, c *call, user string) (store.Match, error) {
	asked, err := c.conditions()
	switch {
	case err != nil:
		return store.Match{}, err
	case len(asked.versions) > 0:
		return a.oneOf(ctx, user, asked.versions)
	}
	return store.Match{Exists: asked.any, Absent: asked.none}, nil
}

// deviceMatch is what a call asks of a user before a device's credential is
// changed. That there is one, or none, is said by the version of a user of whom
// that is true.
func (a *Admin) deviceMatch(ctx context.Context, c *call, user string, device directory.Device) (store.Match, error) {
	asked, err := c.conditions()
	if err != nil || !asked.any && !asked.none {
		return a.userMatch(ctx, c, user)
	}
	u, err := a.store.User(ctx, user)
	if err != nil {
		return store.Match{}, err
	}
	if _, there := u.On(device); there == asked.none {
		return store.Match{}, store.ErrChanged
	}
	return store.Match{Version: u.Version}, nil
}

// oneOf is the condition that the user has one of these versions.
func (a *Admin) oneOf(ctx context.Context, user string, versions []int64) (store.Match, error) {
	if len(versions) == 1 {
		return store.Match{Version: versions[0]}, nil
	}
	u, err := a.store.User(ctx, user)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !slices.Contains(versions, u.Version):
		return store.Match{}, store.ErrChanged
	case err != nil:
		return store.Match{}, err
	}
	return store.Match{Version: u.Version}, nil
}
