package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// on asks about a user.
func (b *serverBooks) on(ctx context.Context, method, user string, a ask, into any) error {
	if user == "" || user == "." || user == ".." { // is something else in a path
		return misused("this is no user")
	}
	a.method, a.path = method, append([]string{"users", user}, a.path...)
	err := b.do(ctx, a, into)
	if r, ok := errors.AsType[*refusal](err); ok {
		switch {
		case r.Status == http.StatusNotFound && r.Code != "":
			return fmt.Errorf("%s: %w", user, errNoUser)
		case r.Status == http.StatusBadRequest:
			return usageError{fmt.Errorf("%s: %w", user, err)}
		}
		return fmt.Errorf("%s: %w", user, err)
	}
	return err
}

func (b *serverBooks) users(ctx context.Context, after, search string, limit int) (page []handler.UserAnswer, next string, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		query.Set("cursor", after)
	}
	if search != "" {
		query.Set("search", search)
	}
	var answer handler.UsersAnswer
	err = b.do(ctx, ask{method: http.MethodGet, path: []string{"users"}, query: query}, &answer)
	return answer.Users, answer.Next, err
}

func (b *serverBooks) user(ctx context.Context, user string) (found handler.UserAnswer, err error) {
	err = b.on(ctx, http.MethodGet, user, ask{}, &found)
	return found, err
}

// mayAdd has the service look at a list of that user alone: it knows the issuers. Of
// devices it says by itself.
func (b *serverBooks) mayAdd(ctx context.Context, user string, _ directory.Device) error {
	if !strings.Contains(user, ":") {
		return nil
	}
	list := askWith(map[string]string{"user": user}, nil).body
	var answer handler.ImportAnswer
	err := b.do(ctx, ask{
		method: http.MethodPost, path: []string{"import"}, query: url.Values{"dry_run": {"true"}},
		contentType: roster.NDJSON.ContentType(), body: list,
	}, &answer)
	if err == nil && len(answer.Errors) > 0 {
		return misused("%s", answer.Errors[0].Problem)
	}
	return err
}

func (b *serverBooks) put(ctx context.Context, user, name string, there bool) (put handler.UserAnswer, err error) {
	condition := http.Header{"If-None-Match": {"*"}}
	if there {
		condition = http.Header{"If-Match": {"*"}}
	}
	err = b.on(ctx, http.MethodPut, user, askWith(map[string]string{"name": name}, condition), &put)
	return put, err
}

// askWith is an ask with a JSON object.
func askWith(members map[string]string, header http.Header) ask {
	body, err := json.Marshal(members)
	if err != nil {
		panic(err) // texts can be marshaled
	}
	return ask{contentType: "application/json", body: body, header: header}
}

func (b *serverBooks) disable(ctx context.Context, user string) (disabled handler.UserAnswer, err error) {
	err = b.on(ctx, http.MethodPost, user, ask{path: []string{"disable"}}, &disabled)
	return disabled, err
}

func (b *serverBooks) enable(ctx context.Context, user string) (enabled handler.UserAnswer, err error) {
	err = b.on(ctx, http.MethodPost, user, ask{path: []string{"enable"}}, &enabled)
	return enabled, err
}

// firstLogin: the service does not tell.
func (b *serverBooks) firstLogin() string {
	return loginCreates + ", if the service does that; otherwise " + loginNeeds
}

func (b *serverBooks) remove(ctx context.Context, user string, keep bool) error {
	return b.on(ctx, http.MethodDelete, user, ask{query: keeping(keep)}, nil)
}

func keeping(keep bool) url.Values { return url.Values{"keep_credential": {strconv.FormatBool(keep)}} }

func (b *serverBooks) assign(ctx context.Context, user string, device directory.Device, id telnyx.CredentialID) error {
	a := askWith(map[string]string{"credential_id": id.String()}, nil)
	a.path = []string{"devices", string(device)}
	return b.on(ctx, http.MethodPut, user, a, nil)
}

func (b *serverBooks) unassign(ctx context.Context, user string, device directory.Device, keep bool) error {
	return b.on(ctx, http.MethodDelete, user, ask{path: []string{"devices", string(device)}, query: keeping(keep)}, nil)
}

func (b *serverBooks) events(ctx context.Context, user string, before int64, limit int) ([]handler.EventAnswer, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if user != "" {
		query.Set("user", user)
	}
	if before > 0 {
		query.Set("before", strconv.FormatInt(before, 10))
	}
	var answer handler.EventsAnswer
	err := b.do(ctx, ask{method: http.MethodGet, path: []string{"events"}, query: query}, &answer)
	return answer.Events, err
}
