package telnyxtest

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// A Credential is what a test can say of a telephony credential. Everything
// left empty gets a plausible value.
type Credential struct {
	ID           string // a UUID
	Name         string
	Tag          string
	ConnectionID string
	SIPUsername  string
	ExpiresAt    time.Time // default 20 years from now
}

const (
	accountID         = "5b1d7b5e-1c5b-4f0e-9a43-0d9bb2b6a6c1" // user_id of every credential
	defaultConnection = "1234567890"
	credentialLife    = 20 * 365 * 24 * time.Hour
)

// record is a stored credential.
type record struct {
	Credential
	password         string
	subject          string // of its tokens
	created, updated time.Time
	usable           time.Time // from when it gets tokens
}

func (r *record) expired(now time.Time) bool { return !now.Before(r.ExpiresAt) }

// AddCredential stores a credential that is usable at once and returns its
// id. A given id that is taken replaces the credential that has it.
func (s *Server) AddCredential(c Credential) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.byID[strings.ToLower(c.ID)]; ok {
		s.remove(old)
	}
	return s.add(c, 0).ID
}

// Credentials returns all that there are, the oldest first.
func (s *Server) Credentials() []Credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Credential, len(s.credentials))
	for i, r := range s.credentials {
		all[i] = r.Credential
	}
	return all
}

// RemoveCredential deletes a credential, as an operator would in Telnyx's
// portal. Its tokens stay what they are, but nobody logs in with them any more.
// Live sessions of the gateway stay.
func (s *Server) RemoveCredential(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.byID[id]; ok {
		s.remove(r)
	}
}

// ExpireCredential lets a credential expire now.
func (s *Server) ExpireCredential(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.byID[id]; ok {
		r.ExpiresAt = s.options.Now()
	}
}

// add and remove need s.mu.
func (s *Server) add(c Credential, delay time.Duration) *record {
	now := s.options.Now()
	c.ID = strings.ToLower(c.ID)
	if c.ID == "" {
		c.ID = randomUUID()
	}
	if c.Name == "" {
		c.Name = now.UTC().Format("2006-01-02 15:04:05.000000Z")
	}
	if c.ConnectionID == "" {
		c.ConnectionID = defaultConnection
	}
	if c.SIPUsername == "" {
		c.SIPUsername = "gencred" + hex.EncodeToString(randomBytes(11))
	}
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = now.Add(credentialLife)
	}
	r := &record{Credential: c, password: s.options.SIPPassword, subject: randomUUID(), created: now, updated: now, usable: now.Add(delay)}
	if r.password == "" {
		r.password = hex.EncodeToString(randomBytes(16))
	}
	s.credentials = append(s.credentials, r)
	s.byID[c.ID] = r
	s.subjects[r.subject] = c.ID
	return r
}

func (s *Server) remove(r *record) {
	delete(s.byID, r.ID)
	s.credentials = slices.DeleteFunc(s.credentials, func(other *record) bool { return other == r })
}

// body is a credential as Telnyx writes it: with its SIP password, in every
// answer, and with times that have no zone.
func (r *record) body(now time.Time) map[string]any {
	return map[string]any{
		"id":           r.ID,
		"record_type":  "credential",
		"name":         r.Name,
		"expired":      r.expired(now),
		"user_id":      accountID,
		"resource_id":  "connection:" + r.ConnectionID,
		"sip_username": r.SIPUsername,
		"sip_password": r.password,
		"created_at":   zoneless(r.created),
		"updated_at":   zoneless(r.updated),
		"expires_at":   zoneless(r.ExpiresAt),
	}
}

func zoneless(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }
