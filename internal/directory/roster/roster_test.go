package roster_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
)

const (
	one = "11111111-1111-4111-8111-111111111111"
	two = "22222222-2222-4222-8222-22222222222a"
)

// read reads a list to its end and says of each line what came of it. Rows are
// written user|name|disabled|device|credential|sip_username, with an underscore
// for a name that is left as it is.
func read(t *testing.T, list string, f roster.Format, issuers ...string) []string {
	t.Helper()
	return readFrom(t, strings.NewReader(list), f, issuers...)
}

func readFrom(t *testing.T, r io.Reader, f roster.Format, issuers ...string) []string {
	t.Helper()
	if issuers == nil {
		issuers = []string{"main"}
	}
	reader := roster.NewReader(r, f, issuers)
	var all []string
	for {
		row, err := reader.Next()
		bad, isLine := errors.AsType[*roster.LineError](err)
		switch {
		case errors.Is(err, io.EOF):
			return all
		case isLine:
			all = append(all, fmt.Sprintf("%d! %s", bad.Line, bad.Text))
			continue
		case err != nil:
			if _, again := reader.Next(); !errors.Is(again, err) {
				t.Errorf("after %v it says %v, want the same", err, again)
			}
			return append(all, "! "+err.Error())
		}
		name, disabled := "_", ""
		if row.NameSet {
			name = row.Name
		}
		if row.Disabled != nil {
			disabled = fmt.Sprint(*row.Disabled)
		}
		all = append(all, fmt.Sprintf("%d: %s", row.Line,
			strings.Join([]string{row.User, name, disabled, string(row.Device), row.Credential.String(), row.SIPUsername}, "|")))
	}
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

const noUUID = "credential_id must be a UUID: 8-4-4-4-12 hexadecimal digits"

func TestCSVIsReadLineByLine(t *testing.T) {
	got := read(t, "user,name,disabled,device,credential_id,sip_username\n"+
		"alice,Alice Ng,,desk,"+one+",gencred1\n"+
		"main:bob,,false,,"+strings.ToUpper(two)+",\r\n"+
		"\n"+
		"carol,\"Carol, \"\"the\"\" boss\",true,,,\n"+
		"dave,,yes,,,\n"+
		"erin,,,Desk,"+one+",\n"+
		"frank,,,desk,KEY0123,\n"+
		"grace,,,desk,,\n"+
		"heidi,,,,,gencred2\n"+
		",,,,,\n"+
		"ivan,,,\n"+
		"ju\"dy,,,,,\n"+
		"\"karl\"x,,,,,\n"+
		"\"li\nam\",,,,,\n"+
		"mal\xfflory,,,,,\n"+
		"niaj,a\tb,,,,\n"+
		"olivia,"+strings.Repeat("é", 128)+",,,,\n"+
		"peggy,"+strings.Repeat("é", 129)+",,,,\n"+
		"rupert,,,,"+one+",gen cred\n"+
		"=sybil,=1+1,,,,", roster.CSV)
	want(t, got,
		"2: main:alice|Alice Ng||desk|"+one+"|gencred1",
		"3: main:bob|_|false|default|"+two+"|",
		`5: main:carol|Carol, "the" boss|true|||`,
		"6! disabled must be true, false or empty",
		"7! device: a device is 1 to 64 of a-z, 0-9, dot, underscore and dash",
		"8! "+noUUID,
		"9! device and sip_username are a credential's: credential_id is missing",
		"10! device and sip_username are a credential's: credential_id is missing",
		"11! user is missing",
		"12! has 4 values, and there are 6 columns",
		"13! a value with a quote in it must be in quotes, and the quote doubled",
		"14! after a closing quote there must be a comma or the line's end",
		"15! user: a user is 1 to 256 bytes of printable characters, without space around them",
		"17! user is not UTF-8",
		"18! name: a name is at most 256 bytes of printable characters",
		"19: main:olivia|"+strings.Repeat("é", 128)+"||||",
		"20! name: a name is at most 256 bytes of printable characters",
		"21! sip_username: it is at most 256 bytes of printable characters without spaces",
		"22: main:=sybil|=1+1||||",
	)
}

func TestAHeaderNamesTheColumns(t *testing.T) {
	const bad = "! the first line must name the columns: line 1: "
	const known = "user, name, disabled, device, credential_id, sip_username"
	for what, c := range map[string]struct{ list, want string }{
		"in another order":          {"credential_id,user\n" + one + ",alice\n", "2: main:alice|_||default|" + one + "|"},
		"user alone":                {"user\nalice\n", "2: main:alice|_||||"},
		"after a byte order mark":   {"\xEF\xBB\xBFuser,name\nalice,A\n", "2: main:alice|A||||"},
		"quoted, after that":        {"\xEF\xBB\xBF\"user\",\"name\"\nalice,A\n", "2: main:alice|A||||"},
		"with an empty line before": {"\r\nuser\r\nalice\r\n", "3: main:alice|_||||"},
		"missing":                   {"", bad + "there is none; it is some of " + known},
		"missing before people":     {"alice,Alice\n", bad + "column 1 is none of " + known},
		"unknown":                   {"user,KEY0123\n", bad + "column 2 is none of " + known},
		"in capitals":               {"User,Credential_ID\nalice," + one + "\n", "2: main:alice|_||default|" + one + "|"},
		"twice, in another case":    {"user,USER\n", bad + "there are two columns user"},
		"with an empty name":        {"user,\n", bad + "column 2 is none of " + known},
		"twice":                     {"user,name,user\n", bad + "there are two columns user"},
		"without user":              {"name,device\n", bad + "the column user is missing"},
		"with semicolons":           {"user;name\n", bad + "there must be commas between them; save as CSV with commas"},
		"in UTF-16":                 {"\xFF\xFEu\x00s\x00e\x00r\x00\n\x00", bad + "this is UTF-16, and must be UTF-8"},
		"with a quote astray":       {"us\"er\n", bad + "a value with a quote in it must be in quotes, and the quote doubled"},
		"too long":                  {"user" + strings.Repeat(",", roster.MaxLine) + "\nalice\n", bad + "longer than 65536 bytes"},
	} {
		t.Run(what, func(t *testing.T) { want(t, read(t, c.list, roster.CSV), c.want) })
	}
}

func TestNDJSONIsReadLineByLine(t *testing.T) {
	const members = "user, name, disabled, device, credential_id, sip_username"
	got := read(t, "\xEF\xBB\xBF"+`{"user":"alice","name":"Alice","disabled":false,"device":"desk","credential_id":"`+one+`","sip_username":"g1"}`+"\n"+
		`{"user":"bob","name":""}`+"\r\n"+
		"\n \t\n"+
		`{"user":"carol","name":null,"disabled":null,"credential_id":null}`+"\n"+
		`{"user":"dave","disabled":"true"}`+"\n"+
		`{"user":"erin","name":7}`+"\n"+
		`{"user":"frank","user":"mallory"}`+"\n"+
		`{"User":"grace"}`+"\n"+
		`{"user":"heidi","credential_id":"KEY0123"}`+"\n"+
		`{"name":"nobody"}`+"\n"+
		`{"user":"ivan"} {"user":"judy"}`+"\n"+
		`["karl"]`+"\n"+
		`null`+"\n"+
		`{"user":"liam"`+"\n"+
		`{"user":"m\ud800"}`+"\n"+
		"{\"user\":\"n\xff\"}\n"+
		`{"user":"olivia","devices":{}}`+"\n"+
		`{"user":{"user":"peggy"}}`+"\n"+
		`{"\u0075ser":"rup\u0065rt","disabled":true}`, roster.NDJSON)
	want(t, got,
		"1: main:alice|Alice|false|desk|"+one+"|g1",
		"2: main:bob|||||",
		"5: main:carol|_||||",
		"6! disabled must be a boolean",
		"7! name must be a string",
		"8! must be one JSON object, in which no member stands twice",
		"9! has a member that is none of "+members,
		"10! "+noUUID,
		"11! user is missing",
		"12! must be one JSON object, in which no member stands twice",
		"13! must be one JSON object, in which no member stands twice",
		"14! must be one JSON object, in which no member stands twice",
		"15! must be one JSON object, in which no member stands twice",
		"16! user is not Unicode",
		"17! is not UTF-8",
		"18! has a member that is none of "+members,
		"19! user must be a string",
		"20: main:rupert|_|true|||",
	)
}

func TestWithSeveralIssuersAUserHasOnesName(t *testing.T) {
	want(t, read(t, "user\nacme:alice\nbob\npartner:a:b\n", roster.CSV, "acme", "partner"),
		"2: acme:alice|_||||",
		"3! user: with several issuers a user key begins with one of their names and a colon: acme, partner",
		"4: partner:a:b|_||||")
}

// A key of an issuer that is none is nobody's here: not the whole value of another.
func TestAColonEndsAnIssuersName(t *testing.T) {
	const none = "user: what stands before the colon is no issuer of this configuration; write ISSUER:VALUE"
	list := "user\nmain:alice\ncorp:bob\ncorp:main:carol\n:dave\ncorp:\nCorp:erin\nfrank\n corp:grace\n"
	want(t, read(t, list, roster.CSV, "corp"),
		"2! "+none, "3: corp:bob|_||||", "4: corp:main:carol|_||||", "5! "+none,
		"6! user: behind the issuer's name and the colon there is no value; write ISSUER:VALUE", "7! "+none, "8: corp:frank|_||||", "9! "+none)
	want(t, read(t, "{\"user\":\"main:alice\"}\n{\"user\":\"corp:bob\"}\n", roster.NDJSON, "corp", "partner"), "1! "+none, "2: corp:bob|_||||")
}

func TestASpreadsheetsTruth(t *testing.T) {
	want(t, read(t, "user,disabled\na,TRUE\nb,False\nc,tRue\nd,WAHR\n", roster.CSV),
		"2: main:a|_|true|||", "3: main:b|_|false|||", "4: main:c|_|true|||", "5! disabled must be true, false or empty")
}

// Where all devices use one credential, another device's would never be used.
func TestSharedDevicesAreNotNamed(t *testing.T) {
	reader := roster.NewReader(strings.NewReader("user,device,credential_id\na,desk,"+one+"\nb,default,"+one+"\nc,,"+two+"\nd,,\n"), roster.CSV, []string{"main"})
	reader.SharedDevices = true
	for i, want := range []string{"line 2: devices is shared: leave the device out, all devices use one credential", "", "", ""} {
		if _, err := reader.Next(); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("line %d: %v, want %q", i+2, err, want)
		}
	}
}

// A line that is too long is skipped whole: what is quoted in it is no row.
func TestALineThatIsTooLongIsOneMistake(t *testing.T) {
	long := strings.Repeat("x", roster.MaxLine)
	for what, c := range map[string]struct {
		format roster.Format
		list   string
		want   []string
	}{
		"CSV":                       {roster.CSV, "user\n" + long + long + "\nbob\n", []string{"2! longer than 65536 bytes", "3: main:bob|_||||"}},
		"CSV, the last":             {roster.CSV, "user\n" + long + long, []string{"2! longer than 65536 bytes"}},
		"CSV, in quotes":            {roster.CSV, "user\n\"" + long + "\nmallory\n\"\nbob\n", []string{"2! longer than 65536 bytes", "5: main:bob|_||||"}},
		"CSV, of many short lines":  {roster.CSV, "user\n\"" + strings.Repeat("mallory\n", 10_000) + "\"\nbob\n", []string{"2! longer than 65536 bytes", "10003: main:bob|_||||"}},
		"CSV, with a quote astray":  {roster.CSV, "user\nx\"" + long + "\nbob\n", []string{"2! longer than 65536 bytes", "3: main:bob|_||||"}},
		"CSV, with a quote open":    {roster.CSV, "user\nalice\n\"bob\ncarol\n", []string{"2: main:alice|_||||", "3! a quote is not closed"}},
		"CSV, open and too long":    {roster.CSV, "user\n\"" + strings.Repeat("mallory\n", 10_000), []string{"2! a quote is not closed"}},
		"CSV, just not too long":    {roster.CSV, "user,name\nalice,\"" + long[:roster.MaxLine-9] + "\"\nbob,\n", []string{"2! name: a name is at most 256 bytes of printable characters", "3: main:bob|_||||"}},
		"CSV, just too long":        {roster.CSV, "user,name\nalice,\"" + long[:roster.MaxLine-8] + "\"\nbob,\n", []string{"2! longer than 65536 bytes", "3: main:bob|_||||"}},
		"NDJSON":                    {roster.NDJSON, long + long + "\n{\"user\":\"bob\"}\n", []string{"1! longer than 65536 bytes", "2: main:bob|_||||"}},
		"NDJSON, with a quote open": {roster.NDJSON, "\"\n{\"user\":\"bob\"}\n", []string{"1! must be one JSON object, in which no member stands twice", "2: main:bob|_||||"}},
	} {
		t.Run(what, func(t *testing.T) {
			want(t, read(t, c.list, c.format), c.want...)
			want(t, readFrom(t, iotest.OneByteReader(strings.NewReader(c.list)), c.format), c.want...)
		})
	}
}

// endless is a line that never ends, of which so much is handed out.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = 'x'
	}
	e.left -= len(p)
	return len(p), nil
}

func TestALongLineIsNotHeld(t *testing.T) {
	for _, f := range []roster.Format{roster.CSV, roster.NDJSON} {
		used := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				list := io.MultiReader(strings.NewReader("user\n\""), &endless{left: 10 << 20}, strings.NewReader("\"\n"))
				readFrom(t, list, f)
			}
		}).AllocedBytesPerOp()
		if used > 4*roster.MaxLine {
			t.Errorf("format %d: %d bytes for a line of 10 MiB", f, used)
		}
	}
}

var errGone = errors.New("the line is dead")

func TestWhatTheSourceSaysIsTheEnd(t *testing.T) {
	for _, f := range []roster.Format{roster.CSV, roster.NDJSON} {
		list := map[roster.Format]string{roster.CSV: "user\nalice\nbo", roster.NDJSON: "{\"user\":\"alice\"}\n{\"user\":\"bo\"}"}[f]
		got := readFrom(t, io.MultiReader(strings.NewReader(list), iotest.ErrReader(errGone)), f)
		if len(got) != 2 || !strings.HasSuffix(got[0], "main:alice|_||||") || got[1] != "! the line is dead" {
			t.Errorf("got %q, want alice and the error, and no half of bob", got)
		}
	}
}

func TestAFilesNameTellsItsFormat(t *testing.T) {
	for file, want := range map[string]roster.Format{
		"people.csv": roster.CSV, "/a.b/PEOPLE.CSV": roster.CSV, "people.ndjson": roster.NDJSON, "people.jsonl": roster.NDJSON,
		"people.json": 0, "people": 0, "-": 0, "csv": 0,
	} {
		if got, ok := roster.FormatOf(file); got != want || ok != (want != 0) {
			t.Errorf("%s is %d, %v, want %d", file, got, ok, want)
		}
	}
}
