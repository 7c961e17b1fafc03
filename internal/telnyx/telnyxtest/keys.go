package telnyxtest

import (
	"crypto/subtle"
	"net/http"
	"sync/atomic"
)

// keys are the API keys that are accepted, and how often another came.
type keys struct {
	list    atomic.Pointer[[]string]
	strange atomic.Int64
}

// AcceptKeys has the server accept these API keys from now on, and no others: in
// Telnyx's portal, keys are made and revoked one by one.
func (s *Server) AcceptKeys(texts ...string) { s.keys.list.Store(&texts) }

// Unauthorized returns how many requests have come with a key that was not accepted.
func (s *Server) Unauthorized() int { return int(s.keys.strange.Load()) }

func (s *Server) authorized(r *http.Request) bool {
	got, ok := []byte(r.Header.Get("Authorization")), false
	for _, k := range *s.keys.list.Load() {
		ok = subtle.ConstantTimeCompare(got, []byte("Bearer "+k)) == 1 || ok
	}
	if !ok {
		s.keys.strange.Add(1)
	}
	return ok
}
