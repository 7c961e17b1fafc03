package handler

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses duplicate names

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func badRequest(detail string) error { return &requestError{outcome: BadRequest, detail: detail} }

// segment is a part of the path, decoded. An empty one is none.
func (c *call) segment(name string) (string, error) {
	text, err := url.PathUnescape(chi.URLParam(c.r, name))
	switch {
	case err != nil:
		return "", badRequest("The path is not encoded as paths are.")
	case text == "":
		return "", &requestError{outcome: NotFound}
	}
	return text, nil
}

// userOf reads whom a call is about.
func (a *Admin) userOf(c *call) (string, error) {
	text, err := c.segment("user")
	if err != nil {
		return "", err
	}
	c.ev.admin.target, err = a.userKey(text)
	return c.ev.admin.target, err
}

func (a *Admin) userKey(text string) (string, error) {
	key, err := directory.ParseUserKey(text, a.issuers)
	if err != nil {
		return "", badRequest(fmt.Sprintf("A user is an issuer's name, which a single issuer's users can do without, a colon, "+
			"and 1 to %d bytes of printable characters without space around them, percent-encoded in one part of the path.", directory.MaxUserValue))
	}
	return key, nil
}

// deviceOf reads which of a user's devices a call is about.
func (a *Admin) deviceOf(c *call) (user string, device directory.Device, err error) {
	if user, err = a.userOf(c); err != nil {
		return "", "", err
	}
	text, err := c.segment("device")
	if err != nil {
		return "", "", err
	}
	if device, err = directory.ParseDevice(text); err != nil {
		return "", "", badRequest(deviceForm)
	}
	c.ev.device = device
	return user, device, nil
}

func (c *call) credential(text string) (telnyx.CredentialID, error) {
	id, err := telnyx.ParseCredentialID(text)
	if err != nil {
		return id, badRequest("A credential is a UUID.")
	}
	c.ev.credential = id
	return id, nil
}

// A query is a call's parameters, each of them known and there once.
type query url.Values

func (c *call) query(names ...string) (query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query cannot be read.")
	}
	for name, all := range values {
		if !slices.Contains(names, name) || len(all) != 1 {
			return nil, badRequest("The query can have each once of: " + strings.Join(names, ", ") + ".")
		}
	}
	return query(values), nil
}

func (q query) text(name string) string { return url.Values(q).Get(name) }

// flag reads a parameter that is true or false, and false if it is not there.
func (q query) flag(name string) (bool, error) {
	switch text, there := q.text(name), url.Values(q).Has(name); {
	case !there || text == "false":
		return false, nil
	case text == "true":
		return true, nil
	}
	return false, badRequest(name + " is true or false.")
}

// limit reads how many are wanted, 0 if that is not said.
func (q query) limit() (int, error) {
	n, err := q.number("limit", store.MaxPage)
	return int(n), err
}

// number reads a number from 1 to most, 0 if it is not there.
func (q query) number(name string, most int64) (int64, error) {
	if !url.Values(q).Has(name) {
		return 0, nil
	}
	n, err := strconv.ParseInt(q.text(name), 10, 64)
	if err != nil || n < 1 || n > most {
		return 0, badRequest(fmt.Sprintf("%s is a number from 1 to %d.", name, most))
	}
	return n, nil
}

// cursor reads where a list goes on, "" for its beginning.
func (q query) cursor() (string, error) {
	after, err := base64.RawURLEncoding.DecodeString(q.text("cursor"))
	if err != nil || !utf8.Valid(after) {
		return "", errCursor
	}
	return string(after), nil
}

var errCursor = badRequest("cursor is the next_cursor of the page before.")

// cursorAfter is the cursor of a list that goes on after this.
func cursorAfter(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// texts reads a body that is a JSON object of strings, and no others than these.
// It is strict, because a misspelt member would otherwise take away what was there.
func (c *call) texts(names ...string) (map[string]string, error) {
	body, err := bodyOf(c.w, c.r, maxBodyBytes)
	if err != nil {
		return nil, err
	}
	if !isJSON(c.r.Header.Get("Content-Type")) {
		return nil, &requestError{outcome: UnsupportedMediaType}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil || !utf8.Valid(body) {
		return nil, badRequest("The body must be one JSON object, in UTF-8.")
	}
	texts := make(map[string]string, len(members))
	for name, value := range members {
		var text *string
		if err := json.Unmarshal(value, &text); err != nil || text == nil || !slices.Contains(names, name) {
			return nil, badRequest("The body's only members are strings: " + strings.Join(names, ", ") + ".")
		}
		if strings.ContainsRune(*text, utf8.RuneError) && !bytes.ContainsRune(body, utf8.RuneError) { // half of a surrogate pair
			return nil, badRequest("The body has a text that is not Unicode.")
		}
		texts[name] = *text
	}
	return texts, nil
}
