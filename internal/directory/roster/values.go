package roster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// columns are CSV's columns and NDJSON's members, by what they are in values.
var columns = [...]string{"user", "name", "disabled", "device", "credential_id", "sip_username"}

const (
	user = iota
	name
	disabled
	device
	credential
	sipUsername
)

// values are a line's, as they were written. An empty one is as good as none.
type values struct {
	text  [len(columns)]string
	named bool // the name is meant, though it is empty
}

// columnOf returns which column that is, or -1.
func columnOf(s string) int { return slices.Index(columns[:], s) }

// columnNames lists them for a message.
func columnNames() string { return strings.Join(columns[:], ", ") }

// row checks the values. The error repeats none of them.
func (v values) row(issuers []string) (store.Row, error) {
	for column, text := range v.text {
		if !utf8.ValidString(text) {
			return store.Row{}, fmt.Errorf("%s is not UTF-8", columns[column])
		}
	}
	row := store.Row{Name: v.text[name], NameSet: v.named || v.text[name] != "", SIPUsername: v.text[sipUsername]}
	if v.text[user] == "" {
		return store.Row{}, errors.New("user is missing")
	}
	var err error
	if row.User, err = UserKey(v.text[user], issuers); err != nil {
		return store.Row{}, fmt.Errorf("user: %w", err)
	}
	if !store.IsName(row.Name) {
		return store.Row{}, fmt.Errorf("name: a name is at most %d bytes of printable characters", store.MaxNameBytes)
	}
	if row.Disabled, err = parseDisabled(v.text[disabled]); err != nil {
		return store.Row{}, err
	}
	return row, v.credential(&row)
}

func parseDisabled(s string) (*bool, error) {
	switch s = strings.ToLower(s); s { // a spreadsheet makes it TRUE
	case "":
		return nil, nil //nolint:nilnil // nothing is said
	case "true", "false":
		is := s == "true"
		return &is, nil
	}
	return nil, errors.New("disabled must be true, false or empty")
}

// credential fills in what the row says of a credential, if it does.
func (v values) credential(row *store.Row) (err error) {
	if v.text[credential] == "" {
		if v.text[device] != "" || v.text[sipUsername] != "" {
			return errors.New("device and sip_username are a credential's: credential_id is missing")
		}
		return nil
	}
	if row.Credential, err = telnyx.ParseCredentialID(v.text[credential]); err != nil {
		return errors.New("credential_id must be a UUID: 8-4-4-4-12 hexadecimal digits")
	}
	row.Device = directory.DefaultDevice
	if v.text[device] != "" {
		if row.Device, err = directory.ParseDevice(v.text[device]); err != nil {
			return fmt.Errorf("device: %w", err)
		}
	}
	if !store.IsSIPUsername(row.SIPUsername) {
		return fmt.Errorf("sip_username: it is at most %d bytes of printable characters without spaces", store.MaxSIPUsernameBytes)
	}
	return nil
}
