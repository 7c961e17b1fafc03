package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A Claim directory is kept by the identity provider: a claim of the bearer
// holds the credential's UUID, or an object of device to UUID.
type Claim struct{ name string }

// NewClaim returns the directory that reads the claim of that name.
func NewClaim(name string) (*Claim, error) {
	if name == "" {
		return nil, errors.New("directory: the claim's name is empty")
	}
	return &Claim{name}, nil
}

// Find returns the credential that the caller's claim names. The error is
// ErrNoCredential if the claim is absent or is not what it should be.
func (c *Claim) Find(_ context.Context, q Query) (telnyx.CredentialID, error) {
	claim := q.Claims[c.name]
	if devices, ok := claim.(map[string]any); ok {
		claim = devices[string(q.Device)]
	}
	if claim == nil {
		return telnyx.CredentialID{}, ErrNoCredential
	}
	text, ok := claim.(string)
	if !ok {
		return telnyx.CredentialID{}, fmt.Errorf("%w: claim %s holds no UUID", ErrNoCredential, c.name)
	}
	id, err := telnyx.ParseCredentialID(text)
	if err != nil {
		return telnyx.CredentialID{}, fmt.Errorf("%w: claim %s: %w", ErrNoCredential, c.name, err)
	}
	return id, nil
}
