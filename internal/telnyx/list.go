package telnyx

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what can be asked for.
const (
	MaxPageSize  = 250 // credentials; Telnyx's own limit
	MaxTextBytes = 256 // of a name, tag or filter
	maxPages     = 1_000_000
)

// The values of Query.Status.
const (
	StatusActive  = "active"
	StatusExpired = "expired"
)

// A Query chooses credentials. Its zero value is the first page of all.
type Query struct {
	Page int // from 1; 0 is 1
	Size int // 1 to MaxPageSize; 0 is Telnyx's default, 20
	// Filters; empty ones do not filter. At most MaxTextBytes each.
	Name        string
	Tag         string
	Status      string // StatusActive or StatusExpired
	ResourceID  string // "connection:<connection id>"
	SIPUsername string
}

// A Page is one page of credentials.
type Page struct {
	Credentials  []Credential
	Number       int // from 1
	Size         int // how many a full page has
	TotalPages   int // of this query
	TotalResults int
}

// Last reports whether no page follows.
func (p Page) Last() bool {
	return len(p.Credentials) == 0 || p.TotalPages > 0 && p.Number >= p.TotalPages
}

func (q Query) check() error {
	switch {
	case q.Page < 0 || q.Page > maxPages:
		return fmt.Errorf("Page must be between 1 and %d", maxPages)
	case q.Size < 0 || q.Size > MaxPageSize:
		return fmt.Errorf("Size must be between 1 and %d", MaxPageSize)
	case q.Status != "" && q.Status != StatusActive && q.Status != StatusExpired:
		return errors.New("Status must be active or expired")
	case q.ResourceID != "" && !isResource(q.ResourceID):
		return errors.New("ResourceID must be connection:<connection id>")
	}
	for field, text := range map[string]string{"Name": q.Name, "Tag": q.Tag, "SIPUsername": q.SIPUsername} {
		if !isText(text) {
			return fmt.Errorf("%s must be printable text of at most %d bytes", field, MaxTextBytes)
		}
	}
	return nil
}

// encode returns the query string with its question mark, or nothing.
func (q Query) encode() string {
	values := url.Values{}
	for name, number := range map[string]int{"page[number]": q.Page, "page[size]": q.Size} {
		if number != 0 {
			values.Set(name, strconv.Itoa(number))
		}
	}
	set := func(name, text string) {
		if text != "" {
			values.Set(name, text)
		}
	}
	set("filter[name]", q.Name)
	set("filter[tag]", q.Tag)
	set("filter[status]", q.Status)
	set("filter[resource_id]", q.ResourceID)
	set("filter[sip_username]", q.SIPUsername)
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

func decodePage(body []byte) (Page, error) {
	var envelope struct {
		Data *[]wireCredential `json:"data"`
		Meta struct {
			TotalPages   int `json:"total_pages"`
			TotalResults int `json:"total_results"`
			PageNumber   int `json:"page_number"`
			PageSize     int `json:"page_size"`
		} `json:"meta"`
	}
	if json.Unmarshal(body, &envelope) != nil || envelope.Data == nil {
		return Page{}, errNotPage
	}
	m := envelope.Meta
	if min(m.TotalPages, m.TotalResults, m.PageNumber, m.PageSize) < 0 {
		return Page{}, errNotPage
	}
	page := Page{Number: m.PageNumber, Size: m.PageSize, TotalPages: m.TotalPages, TotalResults: m.TotalResults}
	for _, w := range *envelope.Data {
		one, err := w.credential()
		if err != nil {
			return Page{}, errNotPage
		}
		page.Credentials = append(page.Credentials, one)
	}
	return page, nil
}

// NewCredential is what can be said of a credential to be created.
type NewCredential struct {
	ConnectionID string    // required: the Credential Connection it belongs to
	Name         string    // free text, at most MaxTextBytes; a list can be filtered by it
	Tag          string    // free text; one tag holds at most 1,000 credentials
	ExpiresAt    time.Time // zero leaves it to Telnyx
}

func (n NewCredential) check() error {
	switch {
	case !IsConnectionID(n.ConnectionID):
		return errors.New("ConnectionID is required: letters, digits, - and _, at most 64")
	case !isText(n.Name):
		return fmt.Errorf("Name must be printable text of at most %d bytes", MaxTextBytes)
	case !isText(n.Tag):
		return fmt.Errorf("Tag must be printable text of at most %d bytes", MaxTextBytes)
	}
	return nil
}

func (n NewCredential) encode() []byte {
	body := map[string]string{"connection_id": n.ConnectionID}
	if n.Name != "" {
		body["name"] = n.Name
	}
	if n.Tag != "" {
		body["tag"] = n.Tag
	}
	if !n.ExpiresAt.IsZero() {
		body["expires_at"] = wireTime(n.ExpiresAt)
	}
	text, _ := json.Marshal(body) // strings always marshal
	return text
}

func encodeExpiry(at time.Time) []byte {
	text, _ := json.Marshal(map[string]string{"expires_at": wireTime(at)})
	return text
}

func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func isResource(s string) bool {
	connection, ok := strings.CutPrefix(s, "connection:")
	return ok && IsConnectionID(connection)
}

// IsConnectionID reports whether the text can name a Credential Connection: 1 to 64
// letters, digits, dashes and underscores.
func IsConnectionID(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '-' || r == '_')
	})
}

func isText(s string) bool {
	return len(s) <= MaxTextBytes && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
