package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/tokensvc/tokensvc/internal/handler"
)

// table writes rows in columns, under a heading if there is one.
func table(w io.Writer, heading string, rows func(row func(cells ...string))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if heading != "" {
		say(t, "%s\n", strings.ReplaceAll(heading, " | ", "\t"))
	}
	rows(func(cells ...string) {
		for i, cell := range cells {
			cells[i] = oneLine(cell) // a tab in it would be a column
		}
		say(t, "%s\n", strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	})
	return t.Flush()
}

func sayUsers(w io.Writer, page []handler.UserAnswer, first bool) error {
	heading := ""
	if first {
		heading = "USER | NAME | STATE | DEVICES"
	}
	return table(w, heading, func(row func(...string)) {
		for _, u := range page {
			var devices []string
			for _, d := range u.Devices {
				devices = append(devices, string(d.Device))
			}
			row(u.User, orDash(u.Name), stateOf(u), orDash(strings.Join(devices, ", ")))
		}
	})
}

func stateOf(u handler.UserAnswer) string {
	if u.Disabled {
		return "disabled"
	}
	return "enabled"
}

func sayUser(w io.Writer, u handler.UserAnswer) error {
	state := stateOf(u)
	if u.Disabled {
		state += " since " + oneLine(u.DisabledAt)
	}
	say(w, "user     %s\nname     %s\nstate    %s\nsince    %s\n", oneLine(u.User), orDash(oneLine(u.Name)), state, oneLine(u.CreatedAt))
	if len(u.Devices) == 0 {
		say(w, "devices  -\n")
		return nil
	}
	say(w, "\n")
	return table(w, "DEVICE | CREDENTIAL | SIP USERNAME | CREATED BY US | EXPIRES | LAST TOKEN", func(row func(...string)) {
		for _, d := range u.Devices {
			ours := "no"
			if d.Provisioned {
				ours = "yes"
			}
			row(string(d.Device), d.Credential, orDash(d.SIPUsername), ours, orDash(d.ExpiresAt), orDash(d.LastVendedAt))
		}
	})
}

func (u *usersRun) sayEvents(page []handler.EventAnswer, first bool) error {
	if u.json {
		for _, e := range page {
			u.sayJSON(e)
		}
		return nil
	}
	heading := ""
	if first {
		heading = "NUMBER | AT | BY | ACTION | USER | DEVICE | CREDENTIAL | DETAIL"
	}
	return table(u.t.out, heading, func(row func(...string)) {
		for _, e := range page {
			row(fmt.Sprint(e.Number), e.At, e.Actor, string(e.Action), orDash(e.User), orDash(string(e.Device)), orDash(e.Credential), orDash(e.Detail))
		}
	})
}

// sayJSON prints an object on a line. What a terminal might obey is escaped, as in
// oneLine: JSON asks for that of a part of it only, and whoever is at -server may
// be anybody.
func (u *usersRun) sayJSON(v any) {
	var b bytes.Buffer
	sayJSON(&b, v)
	var safe strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if unicode.IsPrint(r) {
			safe.WriteRune(r)
			continue
		}
		for _, half := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&safe, `\u%04x`, half)
		}
	}
	say(u.t.out, "%s\n", safe.String())
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
