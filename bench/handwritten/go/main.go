// Command handwritten is the server that people write when they need login tokens
// by tomorrow: it verifies the bearer, looks the user up and asks Telnyx, for every
// request. It has none of the mistakes that such servers mostly have, and is
// measured against tokensvc.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

type server struct {
	verifier *oidc.IDTokenVerifier
	users    map[string]string // to the id of their credential
	telnyx   string
	apiKey   string
	client   *http.Client
}

func main() {
	provider, err := oidc.NewProvider(context.Background(), os.Getenv("OIDC_ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	s := &server{
		verifier: provider.Verifier(&oidc.Config{
			ClientID:             os.Getenv("OIDC_AUDIENCE"),
			SupportedSigningAlgs: []string{oidc.RS256},
		}),
		telnyx: os.Getenv("TELNYX_BASE_URL"),
		apiKey: os.Getenv("TELNYX_API_KEY"),
		client: &http.Client{Timeout: 10 * time.Second},
	}
	content, err := os.ReadFile(os.Getenv("USERS_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(content, &s.users); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("POST /v1/token", s.token)
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "no bearer", http.StatusUnauthorized)
		return
	}
	verified, err := s.verifier.Verify(r.Context(), bearer)
	if err != nil {
		http.Error(w, "the bearer does not verify", http.StatusUnauthorized)
		return
	}
	credential, ok := s.users[verified.Subject]
	if !ok {
		http.Error(w, "no credential", http.StatusForbidden)
		return
	}
	token, err := s.mint(r.Context(), credential)
	if err != nil {
		log.Print(err)
		http.Error(w, "no token", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"token": token})
}
