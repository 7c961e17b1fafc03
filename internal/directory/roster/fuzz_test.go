package roster_test

import (
	"encoding/csv"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// check reads anything to its end. Lines come in order, a good one is written and
// read again as the same, and what is said of a bad one repeats nothing of it.
func check(t *testing.T, list []byte, f roster.Format) (rows []store.Row) {
	t.Helper()
	reader := roster.NewReader(strings.NewReader(string(list)), f, []string{"acme", "partner"})
	last := 0
	for {
		row, err := reader.Next()
		line := row.Line
		if err != nil {
			if strings.Contains(err.Error(), "KEY0123") {
				t.Fatalf("repeats what stands there: %v", err)
			}
			bad, goesOn := errors.AsType[*roster.LineError](err)
			if !goesOn {
				return rows
			}
			line = bad.Line
		}
		if line <= last {
			t.Fatalf("line %d comes after %d", line, last)
		}
		last = line
		if err == nil {
			rows = append(rows, row)
			checkAgain(t, row, f)
		}
	}
}

// checkAgain writes a row and reads it again.
func checkAgain(t *testing.T, row store.Row, f roster.Format) {
	t.Helper()
	if !utf8.ValidString(row.User) || len(row.Name) > store.MaxNameBytes || row.Credential.IsZero() != (row.Device == "") {
		t.Fatalf("is accepted: %+v", row)
	}
	u := store.User{Key: row.User, Name: row.Name}
	if row.Disabled != nil && *row.Disabled {
		u.DisabledAt = time.Unix(1, 0)
	}
	if !row.Credential.IsZero() {
		u.Credentials = []store.Credential{{ID: row.Credential, Device: row.Device, SIPUsername: row.SIPUsername}}
	}
	again, err := roster.NewReader(strings.NewReader(written(t, f, u)), f, []string{"acme", "partner"}).Next()
	if err != nil {
		t.Fatalf("%+v cannot be read again: %v", row, err)
	}
	if again.User != row.User || again.Name != row.Name || (again.Disabled != nil && *again.Disabled) == u.DisabledAt.IsZero() ||
		again.Device != row.Device || again.Credential != row.Credential || again.SIPUsername != row.SIPUsername {
		t.Fatalf("%+v is read again as %+v", row, again)
	}
}

func FuzzCSV(f *testing.F) {
	for _, list := range []string{
		"user,name\nacme:alice,Alice\n", "\xEF\xBB\xBFname,user\r\n\"A, \"\"b\"\"\nc\",acme:alice\r\n\r\n",
		"user,credential_id,device\nacme:a," + one + ",desk\nacme:b,KEY0123,\n", "user,disabled\nacme:a,true\nacme:b,\"\nacme:c\n",
		"user\nacme:a\"b\n\"acme:a\"b\n\"acme:c\"\r\n", "user,KEY0123\n", "USER,Name\nacme:a,x\n", "user\n\"", "user,name,sip_username\nacme:a,,x\r",
	} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) { sameAsGo(t, list, check(t, list, roster.CSV)) })
}

// sameAsGo wants every user that was read to be one that encoding/csv finds where
// nothing is wrong with the list.
func sameAsGo(t *testing.T, list []byte, rows []store.Row) {
	t.Helper()
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(list), "\xEF\xBB\xBF")))
	all, err := reader.ReadAll()
	if err != nil || len(list) > roster.MaxLine || strings.Contains(string(list), "\r") {
		return
	}
	at := -1
	for i := range len(all) {
		if i == 0 {
			for column, name := range all[0] {
				if strings.ToLower(name) == "user" {
					at = column
				}
			}
			continue
		}
		if len(rows) > 0 && at >= 0 && all[i][at] == rows[0].User {
			rows = rows[1:]
		}
	}
	if len(rows) > 0 {
		t.Fatalf("%+v is none of %q", rows[0], all)
	}
}

func FuzzNDJSON(f *testing.F) {
	for _, list := range []string{
		`{"user":"acme:alice","name":"Alice","disabled":false,"device":"desk","credential_id":"` + one + `","sip_username":"g"}`,
		"{\"user\":\"acme:a\"}\n\n{\"user\":\"acme:b\",\"user\":\"acme:KEY0123\"}\n", `{"user":"acme:\ud800"}`, `{"user":"acme:a","name":null}`,
		`{"user":"acme:a","KEY0123":{}}`, `{"user":["acme:a"]}`, `null`, `{"user":"acme:a","disabled":"KEY0123"}`, "\xEF\xBB\xBF{}\r\n",
	} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) { check(t, list, roster.NDJSON) })
}
