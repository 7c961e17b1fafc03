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

// DeviceOf returns which device the caller's claim gives the credential to, or
// ErrNoCredential if it gives it to none. What is not as it should be in the claim is
// as good as not there.
func (c *Claim) DeviceOf(_ context.Context, q Query, id telnyx.CredentialID) (Device, error) {
	var h holding
	switch claim := q.Claims[c.name].(type) {
	case string:
		h.shared, _ = telnyx.ParseCredentialID(claim)
	case map[string]any:
		h.byDevice = make(map[Device]telnyx.CredentialID, len(claim))
		for label, value := range claim {
			device, err := ParseDevice(label)
			if text, ok := value.(string); ok && err == nil {
				h.byDevice[device], _ = telnyx.ParseCredentialID(text)
			}
		}
	}
	return h.deviceOf(id)
}
