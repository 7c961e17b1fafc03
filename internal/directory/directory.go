// Package directory knows which telephony credential belongs to a user's device.
// It is asked about verified users only; it grants nothing that was not put into
// it.
package directory

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// What Find may say besides a credential.
var (
	// ErrNoCredential says that the user has no telephony credential for the
	// device.
	ErrNoCredential = errors.New("no telephony credential")
	// ErrUnavailable says that the store does not answer.
	ErrUnavailable = errors.New("the directory does not answer")
	// ErrDisabled says that the user's access has been withdrawn.
	ErrDisabled = errors.New("the user is disabled")
	// ErrTooManyDevices says that the user has as many devices as one may have. It
	// is an ErrNoCredential.
	ErrTooManyDevices = fmt.Errorf("%w: too many devices", ErrNoCredential)
	// ErrNotCreated says that the credential would be created if a token were asked
	// for, and was only looked up. It is an ErrNoCredential.
	ErrNotCreated = fmt.Errorf("%w: it is created at the first login", ErrNoCredential)
)

// A NotReadyError says that the user's credential has just been created, or is
// being, and cannot be used yet.
type NotReadyError struct {
	RetryAfter time.Duration // when it will be, about; more than zero
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("the credential is not usable yet, for %v", e.RetryAfter)
}

// A Device is a caller-chosen label that selects among the user's own
// credentials: 1 to 64 of a-z, 0-9, dot, underscore and dash.
type Device string

// DefaultDevice is the device of a caller that names none.
const DefaultDevice Device = "default"

var deviceForm = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// ParseDevice checks a label. The error does not repeat it.
func ParseDevice(s string) (Device, error) {
	if !deviceForm.MatchString(s) {
		return "", errors.New("a device is 1 to 64 of a-z, 0-9, dot, underscore and dash")
	}
	return Device(s), nil
}

// A Query asks for a verified user's credential, or which device has one.
type Query struct {
	User   string         // the user key, "<issuer name>:<value>"
	Claims map[string]any // of the user's bearer
	Device Device
	// Create says that the credential is needed now, and may be created. Otherwise
	// it is only looked up.
	Create bool
	// RequestID is the request's that asks. It is written down with what is changed
	// for it. May be empty.
	RequestID string
}

// holding is what one user has: one credential that all devices share, or one
// for each device.
type holding struct {
	shared   telnyx.CredentialID
	byDevice map[Device]telnyx.CredentialID
}

func (h holding) find(d Device) (telnyx.CredentialID, error) {
	if !h.shared.IsZero() {
		return h.shared, nil
	}
	if id, ok := h.byDevice[d]; ok {
		return id, nil
	}
	return telnyx.CredentialID{}, ErrNoCredential
}

// deviceOf returns the device that has a credential, the first by name if several
// have it.
func (h holding) deviceOf(id telnyx.CredentialID) (Device, error) {
	if id.IsZero() {
		return "", ErrNoCredential
	}
	if h.shared == id {
		return DefaultDevice, nil
	}
	var first Device
	for device, has := range h.byDevice {
		if has == id && (first == "" || device < first) {
			first = device
		}
	}
	if first == "" {
		return "", ErrNoCredential
	}
	return first, nil
}
