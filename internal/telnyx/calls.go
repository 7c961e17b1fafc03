package telnyx

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// MaxAnswerBytes bounds every answer but the token's. A full page of 250
// credentials has about 150 kB.
const MaxAnswerBytes = 4 << 20

const credentials = "/telephony_credentials"

var (
	errNoCredential = errors.New("no credential id")
	errNoExpiry     = errors.New("no expiry")
	errOtherID      = errors.New("the answer is about another credential")

	okOnly      = []int{http.StatusOK}
	created     = []int{http.StatusCreated}
	createdOrOK = []int{http.StatusCreated, http.StatusOK}
)

// Mint asks for a new login token. The token may have any lifetime, none left
// included: see its ExpiresAt. Repeating a mint is harmless, so it is repeated
// after connection errors, 5xx and 429, within the Timeout.
func (c *Client) Mint(ctx context.Context, id CredentialID) (LoginToken, error) {
	var token LoginToken
	err := c.about(ctx, call{
		op: "mint", credential: id, method: http.MethodPost, path: credentialPath(id) + "/token",
		accept: createdOrOK, maxBody: MaxTokenBytes, repeatable: true,
		decode: func(body []byte) (err error) {
			token, err = ParseLoginToken(string(body))
			return err
		},
	})
	if err != nil {
		return LoginToken{}, err
	}
	return token, nil
}

// Credential reads a credential.
func (c *Client) Credential(ctx context.Context, id CredentialID) (Credential, error) {
	var got Credential
	err := c.about(ctx, call{
		op: "get", credential: id, method: http.MethodGet, path: credentialPath(id),
		accept: okOnly, maxBody: MaxAnswerBytes, repeatable: true,
		decode: got.decodeOf(id),
	})
	if err != nil {
		return Credential{}, err
	}
	return got, nil
}

// decodeOf reads an answer about one credential, and no other, into c.
func (c *Credential) decodeOf(id CredentialID) func(body []byte) error {
	return func(body []byte) (err error) {
		*c, err = decodeCredential(body)
		if err == nil && c.ID != id {
			err = errOtherID
		}
		return err
	}
}

// Credentials reads one page of the account's credentials.
func (c *Client) Credentials(ctx context.Context, q Query) (Page, error) {
	if why := q.check(); why != nil {
		return Page{}, refused("list", CredentialID{}, ErrInvalid, why)
	}
	var page Page
	err := c.do(ctx, call{
		op: "list", method: http.MethodGet, path: credentials + q.encode(),
		accept: okOnly, maxBody: MaxAnswerBytes, repeatable: true,
		decode: func(body []byte) (err error) {
			page, err = decodePage(body)
			return err
		},
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

// CreateCredential creates a credential. Telnyx has no idempotency key for
// it, so it is not repeated once it may have reached Telnyx: such an Error is
// Uncertain, and the caller should look by name before creating again. A new
// credential may not be usable for its first 5 seconds or so.
func (c *Client) CreateCredential(ctx context.Context, n NewCredential) (Credential, error) {
	if why := n.check(); why != nil {
		return Credential{}, refused("create", CredentialID{}, ErrInvalid, why)
	}
	var got Credential
	err := c.do(ctx, call{
		op: "create", method: http.MethodPost, path: credentials, body: n.encode(),
		accept: created, maxBody: MaxAnswerBytes,
		decode: func(body []byte) (err error) {
			got, err = decodeCredential(body)
			return err
		},
	})
	if err != nil {
		return Credential{}, err
	}
	return got, nil
}

// UpdateCredential gives a credential another expiry, which must not be zero. It
// says when, not for how much longer, so repeating it is harmless. One that has
// expired cannot be changed: ErrCredentialRejected.
func (c *Client) UpdateCredential(ctx context.Context, id CredentialID, expires time.Time) (Credential, error) {
	if expires.IsZero() {
		return Credential{}, refused("update", id, ErrInvalid, errNoExpiry)
	}
	var got Credential
	err := c.about(ctx, call{
		op: "update", credential: id, method: http.MethodPatch, path: credentialPath(id), body: encodeExpiry(expires),
		accept: okOnly, maxBody: MaxAnswerBytes, repeatable: true,
		decode: got.decodeOf(id),
	})
	if err != nil {
		return Credential{}, err
	}
	return got, nil
}

// DeleteCredential deletes a credential for good. One that Telnyx does not
// know is an ErrCredentialRejected with status 404, unless an earlier attempt
// of this call, with the same API key, may have deleted it.
func (c *Client) DeleteCredential(ctx context.Context, id CredentialID) error {
	epoch := c.Epoch()
	err := c.about(ctx, call{
		op: "delete", credential: id, method: http.MethodDelete, path: credentialPath(id),
		accept: okOnly, maxBody: MaxAnswerBytes, repeatable: true,
		// A page with status 200 is no proof that anything was deleted; the
		// credential that comes back is.
		decode: func(body []byte) error {
			if got, err := decodeID(body); err != nil || got != id {
				return errOtherID
			}
			return nil
		},
	})
	if err == nil || err.Status == http.StatusNotFound && err.Uncertain && epoch == c.Epoch() {
		return nil
	}
	return err
}

// about makes a call about one credential.
func (c *Client) about(ctx context.Context, k call) *Error {
	if k.credential.IsZero() {
		return refused(k.op, k.credential, ErrCredentialRejected, errNoCredential)
	}
	return c.do(ctx, k)
}

// credentialPath escapes the id although a CredentialID can only be a UUID:
// "../balance" in its place has minted nothing and called something else.
func credentialPath(id CredentialID) string {
	return credentials + "/" + url.PathEscape(id.String())
}
