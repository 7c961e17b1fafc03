package roster

import (
	"encoding/csv"
	"encoding/json"
	"io"

	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A Writer writes a list that a Reader reads. It says true of those who are
// disabled and nothing of the others: to read an old list enables nobody again.
type Writer struct {
	write func(line) error
	flush func() error
}

// line is what a line says.
type line struct {
	User        string `json:"user"`
	Name        string `json:"name,omitempty"`
	Disabled    bool   `json:"disabled,omitempty"`
	Device      string `json:"device,omitempty"`
	Credential  string `json:"credential_id,omitempty"`
	SIPUsername string `json:"sip_username,omitempty"`
}

func (l line) fields() []string {
	disabled := ""
	if l.Disabled {
		disabled = "true"
	}
	return []string{l.User, l.Name, disabled, l.Device, l.Credential, l.SIPUsername}
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer, f Format) *Writer {
	if f == CSV {
		return newCSVWriter(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &Writer{func(l line) error { return encoder.Encode(l) }, func() error { return nil }}
}

func newCSVWriter(w io.Writer) *Writer {
	out := csv.NewWriter(w)
	headed := false
	head := func() error {
		if headed {
			return nil
		}
		headed = true
		return out.Write(columns[:])
	}
	write := func(l line) error {
		if err := head(); err != nil {
			return err
		}
		return out.Write(l.fields())
	}
	return &Writer{write, func() error {
		if err := head(); err != nil { // of a list of nobody
			return err
		}
		out.Flush()
		return out.Error()
	}}
}

// Write writes a user's lines: one for each credential, or one without. They may
// be w's only after Flush.
func (w *Writer) Write(u store.User) error {
	l := line{User: u.Key, Name: u.Name, Disabled: !u.DisabledAt.IsZero()}
	if len(u.Credentials) == 0 {
		return w.write(l)
	}
	for _, c := range u.Credentials {
		l.Device, l.Credential, l.SIPUsername = string(c.Device), c.ID.String(), c.SIPUsername
		if err := w.write(l); err != nil {
			return err
		}
	}
	return nil
}

// Flush sees to it that w has everything.
func (w *Writer) Flush() error { return w.flush() }
