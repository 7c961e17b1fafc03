package telnyx

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// A Credential is a telephony credential: one SIP identity. Its SIP password
// is left at Telnyx.
type Credential struct {
	ID          CredentialID
	Name        string // free text, as given at its creation
	ResourceID  string // "connection:<connection id>"
	SIPUsername string
	Expired     bool      // final: an expired credential can only be deleted
	CreatedAt   time.Time // these three in UTC; zero when Telnyx does not say
	UpdatedAt   time.Time
	ExpiresAt   time.Time
}

var (
	errNotCredential = errors.New("the body is not a credential")
	errNotPage       = errors.New("the body is not a page of credentials")
)

// wireCredential is what is decoded of a credential. It leaves out
// sip_password on purpose: what is not decoded cannot be passed on.
type wireCredential struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	ResourceID  string    `json:"resource_id"`
	SIPUsername string    `json:"sip_username"`
	Expired     wireBool  `json:"expired"`
	CreatedAt   timestamp `json:"created_at"`
	UpdatedAt   timestamp `json:"updated_at"`
	ExpiresAt   timestamp `json:"expires_at"`
}

func (w wireCredential) credential() (Credential, error) {
	id, err := ParseCredentialID(w.ID)
	if err != nil {
		return Credential{}, err
	}
	return Credential{
		ID: id, Name: w.Name, ResourceID: w.ResourceID, SIPUsername: w.SIPUsername,
		Expired:   bool(w.Expired),
		CreatedAt: time.Time(w.CreatedAt), UpdatedAt: time.Time(w.UpdatedAt), ExpiresAt: time.Time(w.ExpiresAt),
	}, nil
}

// The decoders drop the errors of encoding/json, which quote the body.

func decodeCredential(body []byte) (Credential, error) {
	var envelope struct {
		Data wireCredential `json:"data"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return Credential{}, errNotCredential
	}
	got, err := envelope.Data.credential()
	if err != nil {
		return Credential{}, errNotCredential
	}
	return got, nil
}

// decodeID reads only which credential an answer is about.
func decodeID(body []byte) (CredentialID, error) {
	var envelope struct {
		Data struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return CredentialID{}, errNotCredential
	}
	return ParseCredentialID(envelope.Data.ID)
}

// wireBool is a boolean that older documents show as the text "false".
type wireBool bool

func (b *wireBool) UnmarshalJSON(data []byte) error {
	switch strings.Trim(string(data), `"`) {
	case "true":
		*b = true
	case "false", "null":
		*b = false
	default:
		return errNotCredential
	}
	return nil
}

// timestamp is a time in one of the forms Telnyx writes. One without a zone
// is UTC.
type timestamp time.Time

var timeForms = []string{ // a fraction of a second is accepted by each
	"2006-01-02T15:04:05",
	time.RFC3339,
	"2006-01-02 15:04:05",
	"2006-01-02 15:04:05Z07:00",
}

func (t *timestamp) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) != nil {
		return errNotCredential
	}
	if text == nil || *text == "" {
		*t = timestamp{}
		return nil
	}
	for _, form := range timeForms {
		if got, err := time.Parse(form, *text); err == nil {
			*t = timestamp(got.UTC())
			return nil
		}
	}
	return errNotCredential
}
