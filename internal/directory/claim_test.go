package directory_test

import (
	"encoding/json"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

type id = telnyx.CredentialID

func TestWhoseCredentialAClaimNames(t *testing.T) {
	d, err := directory.NewClaim("telnyx")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		says   string
		claims string
		device directory.Device
		want   string
	}{
		{"a UUID serves the default device", `{"telnyx":"` + one + `"}`, "default", one},
		{"and every other", `{"telnyx":"` + one + `"}`, "mobile", one},
		{"an object has one for each device", `{"telnyx":{"default":"` + one + `","mobile":"` + two + `"}}`, "mobile", two},
		{"a device that is not in it", `{"telnyx":{"default":"` + one + `"}}`, "mobile", "none"},
		{"no claim", `{}`, "default", "none"},
		{"null", `{"telnyx":null}`, "default", "none"},
		{"another claim", `{"Telnyx":"` + one + `"}`, "default", "none"},
		{"no UUID", `{"telnyx":"../balance"}`, "default", "none"},
		{"a number", `{"telnyx":7}`, "default", "none"},
		{"a list", `{"telnyx":["` + one + `"]}`, "default", "none"},
		{"an object in the object", `{"telnyx":{"default":{"default":"` + one + `"}}}`, "default", "none"},
	} {
		var claims map[string]any
		if err := json.Unmarshal([]byte(row.claims), &claims); err != nil {
			t.Fatal(err)
		}
		if got := found(d, directory.Query{User: "main:alice", Claims: claims, Device: row.device}); got != row.want {
			t.Errorf("%s: %s, want %s", row.says, got, row.want)
		}
	}
	if _, err := directory.NewClaim(""); err == nil {
		t.Error("a claim without a name is accepted")
	}
}

func TestWhichDeviceAClaimGivesACredentialTo(t *testing.T) {
	d, err := directory.NewClaim("telnyx")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ says, claims, id, want string }{
		{"a UUID serves the default device", `{"telnyx":"` + one + `"}`, one, "default"},
		{"and no other UUID does", `{"telnyx":"` + one + `"}`, two, "none"},
		{"an object has one for each device", `{"telnyx":{"default":"` + one + `","mobile":"` + two + `"}}`, two, "mobile"},
		{"of two with the same, the first by name", `{"telnyx":{"b":"` + one + `","a":"` + one + `","c":"` + one + `"}}`, one, "a"},
		{"what is no device is not asked for", `{"telnyx":{"Mobile":"` + one + `"}}`, one, "none"},
		{"an object in the object", `{"telnyx":{"default":{"default":"` + one + `"}}}`, one, "none"},
		{"a list", `{"telnyx":["` + one + `"]}`, one, "none"},
		{"no claim", `{}`, one, "none"},
		{"what is no id is nobody's", `{"telnyx":"nonsense"}`, "", "none"},
		{"nor anybody's device's", `{"telnyx":{"default":"nonsense"}}`, "", "none"},
	} {
		var claims map[string]any
		if err := json.Unmarshal([]byte(row.claims), &claims); err != nil {
			t.Fatal(err)
		}
		if got := holder(d, directory.Query{User: "main:alice", Claims: claims}, row.id); got != row.want {
			t.Errorf("%s: %s, want %s", row.says, got, row.want)
		}
	}
}

func TestDevices(t *testing.T) {
	for _, good := range []string{"default", "a", "desk-1", "my.phone_2", string(make64('z'))} {
		if d, err := directory.ParseDevice(good); err != nil || string(d) != good {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{"", "Desk", "a/b", "a b", "ä", "a\n", "../x", string(make64('z')) + "z"} {
		if _, err := directory.ParseDevice(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func make64(c byte) []byte {
	b := make([]byte, 64)
	for i := range b {
		b[i] = c
	}
	return b
}
