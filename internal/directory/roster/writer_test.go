package roster_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func id(t *testing.T, text string) telnyx.CredentialID {
	t.Helper()
	id, err := telnyx.ParseCredentialID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func written(t *testing.T, f roster.Format, users ...store.User) string {
	t.Helper()
	var b bytes.Buffer
	w := roster.NewWriter(&b, f)
	for _, u := range users {
		if err := w.Write(u); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// some are users of every kind, one with all that an editor could stumble over.
func some(t *testing.T) []store.User {
	t.Helper()
	return []store.User{
		{Key: "main:alice", Name: "Alice", Credentials: []store.Credential{
			{ID: id(t, one), Device: "default", SIPUsername: "gencred1"},
			{ID: id(t, two), Device: "mobile", Provisioned: true},
		}},
		{Key: "main:bob"},
		{Key: "main:carol", DisabledAt: time.Unix(1, 0)},
		{Key: `main:main:d"a, é<&>`, Name: `=HYPERLINK("x"), 'y'`},
	}
}

func TestAListIsWrittenAsItIsRead(t *testing.T) {
	const asCSV = "user,name,disabled,device,credential_id,sip_username\n" +
		"main:alice,Alice,,default," + one + ",gencred1\n" +
		"main:alice,Alice,,mobile," + two + ",\n" +
		"main:bob,,,,,\n" +
		"main:carol,,true,,,\n" +
		`"main:main:d""a, é<&>","=HYPERLINK(""x""), 'y'",,,,` + "\n"
	const asNDJSON = `{"user":"main:alice","name":"Alice","device":"default","credential_id":"` + one + `","sip_username":"gencred1"}
{"user":"main:alice","name":"Alice","device":"mobile","credential_id":"` + two + `"}
{"user":"main:bob"}
{"user":"main:carol","disabled":true}
{"user":"main:main:d\"a, é<&>","name":"=HYPERLINK(\"x\"), 'y'"}
`
	for f, list := range map[roster.Format]string{roster.CSV: asCSV, roster.NDJSON: asNDJSON} {
		if got := written(t, f, some(t)...); got != list {
			t.Errorf("wrote\n%s\nwant\n%s", got, list)
		}
		got := strings.Join(read(t, list, f), "\n")
		for _, row := range []string{
			"main:alice|Alice||default|" + one + "|gencred1", "main:alice|Alice||mobile|" + two + "|",
			"main:bob|_||||", "main:carol|_|true|||", `main:main:d"a, é<&>|=HYPERLINK("x"), 'y'||||`,
		} {
			if !strings.Contains(got, row) {
				t.Errorf("read\n%s\nwant in it\n%s", got, row)
			}
		}
	}
}

func TestAListOfNobodyHasAHeader(t *testing.T) {
	want(t, []string{written(t, roster.CSV), written(t, roster.NDJSON)}, "user,name,disabled,device,credential_id,sip_username\n", "")
}
