package telnyxtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// do does what a request asks for.
func (s *Server) do(op, id string, r *http.Request, body []byte) answer {
	if !s.authorized(r) {
		return errorAnswer(http.StatusUnauthorized, codeAuthentication, "Authentication failed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	switch op {
	case List:
		return s.list(r.URL.Query(), now)
	case Create:
		return s.create(body, now)
	}
	if !isUUID(id) {
		return errorAnswer(http.StatusNotFound, codeBadID, "The id is not valid.")
	}
	found, ok := s.byID[strings.ToLower(id)]
	if !ok {
		return errorAnswer(http.StatusNotFound, codeNotFound, "The requested resource or URL could not be found.")
	}
	switch op {
	case Get:
		return data(http.StatusOK, found.body(now))
	case Update:
		return s.update(found, body, now)
	case Delete:
		s.remove(found)
		return data(http.StatusOK, found.body(now))
	}
	return s.mint(found, now)
}

// mint answers 404 for an expired credential, and for a new one in its first
// seconds: what Telnyx does then is not documented, and 404 is the one error
// that its specification lists for this operation.
func (s *Server) mint(r *record, now time.Time) answer {
	if r.expired(now) || now.Before(r.usable) {
		return errorAnswer(http.StatusNotFound, codeNotFound, "The requested resource or URL could not be found.")
	}
	s.minted++
	return answer{http.StatusCreated, "text/plain; charset=utf-8", s.token(r, now)}
}

// wish is the body of a create or an update.
type wish struct {
	ConnectionID *string `json:"connection_id"`
	Name         *string `json:"name"`
	Tag          *string `json:"tag"`
	ExpiresAt    *string `json:"expires_at"`
}

const maxTagged = 1000 // credentials with one tag

func (s *Server) create(body []byte, now time.Time) answer {
	c, ok := parseWish(body, Credential{})
	if !ok || c.ConnectionID == "" {
		return unprocessable("connection_id is required; name, tag and expires_at are text, the last a date.")
	}
	if c.Tag != "" && s.tagged(c.Tag) >= maxTagged {
		return unprocessable("The tag holds its maximum number of credentials.")
	}
	return data(http.StatusCreated, s.add(c, s.options.NewCredentialDelay).body(now))
}

// update of an expired credential fails, with errors as an object.
func (s *Server) update(r *record, body []byte, now time.Time) answer {
	if r.expired(now) {
		return jsonAnswer(http.StatusUnprocessableEntity, map[string]any{
			"errors": map[string]any{"code": codeBadRequest, "title": "Unprocessable Entity", "detail": "The credential has expired."},
		})
	}
	c, ok := parseWish(body, r.Credential)
	if !ok {
		return unprocessable("connection_id, name, tag and expires_at are text, the last a date.")
	}
	r.Credential, r.updated = c, now
	return data(http.StatusOK, r.body(now))
}

// parseWish applies a body to a credential.
func parseWish(body []byte, c Credential) (Credential, bool) {
	var w wish
	if json.Unmarshal(body, &w) != nil {
		return c, false
	}
	for to, from := range map[*string]*string{&c.ConnectionID: w.ConnectionID, &c.Name: w.Name, &c.Tag: w.Tag} {
		if from != nil {
			*to = *from
		}
	}
	if w.ExpiresAt == nil {
		return c, true
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, *w.ExpiresAt); err == nil {
			c.ExpiresAt = t
			return c, true
		}
	}
	return c, false
}

var filters = map[string]func(r *record, now time.Time) string{
	"filter[name]":         func(r *record, _ time.Time) string { return r.Name },
	"filter[tag]":          func(r *record, _ time.Time) string { return r.Tag },
	"filter[resource_id]":  func(r *record, _ time.Time) string { return "connection:" + r.ConnectionID },
	"filter[sip_username]": func(r *record, _ time.Time) string { return r.SIPUsername },
	"filter[status]": func(r *record, now time.Time) string {
		if r.expired(now) {
			return "expired"
		}
		return "active"
	},
}

func isListParameter(name string) bool {
	return name == "page[number]" || name == "page[size]" || filters[name] != nil
}

func (s *Server) list(query url.Values, now time.Time) answer {
	number, okNumber := pageParameter(query, "page[number]", 1, 1<<30)
	size, okSize := pageParameter(query, "page[size]", 20, 250)
	if !okNumber || !okSize {
		return errorAnswer(http.StatusBadRequest, codeBadRequest, "page[number] is from 1, page[size] from 1 to 250.")
	}
	matching := s.matching(query, now)
	total := len(matching)
	from := min((number-1)*size, total)
	page := []any{}
	for _, r := range matching[from:min(from+size, total)] {
		page = append(page, r.body(now))
	}
	return jsonAnswer(http.StatusOK, map[string]any{
		"data": page,
		"meta": map[string]any{
			"total_pages": (total + size - 1) / size, "total_results": total, "page_number": number, "page_size": size,
		},
	})
}

// matching returns the credentials that pass all filters of a query. Without a
// filter it looks at none, so that reading 100,000 page by page takes no time.
func (s *Server) matching(query url.Values, now time.Time) []*record {
	found := s.credentials
	for name, field := range filters {
		want := query.Get(name)
		if want == "" {
			continue
		}
		var passed []*record
		for _, r := range found {
			if field(r, now) == want {
				passed = append(passed, r)
			}
		}
		found = passed
	}
	return found
}

func pageParameter(query url.Values, name string, otherwise, most int) (int, bool) {
	if !query.Has(name) {
		return otherwise, true
	}
	n, err := strconv.Atoi(query.Get(name))
	return n, err == nil && n >= 1 && n <= most
}

func (s *Server) tagged(tag string) int {
	n := 0
	for _, r := range s.credentials {
		if r.Tag == tag {
			n++
		}
	}
	return n
}

func data(status int, credential map[string]any) answer {
	return jsonAnswer(status, map[string]any{"data": credential})
}

func unprocessable(detail string) answer {
	return errorAnswer(http.StatusUnprocessableEntity, codeBadRequest, detail)
}

func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, length := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != length || strings.Trim(strings.ToLower(parts[i]), "0123456789abcdef") != "" {
			return false
		}
	}
	return true
}
