package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inDatabase is enough, with the people in a database.
func inDatabase(more ...string) []string {
	return withEnviron(append([]string{"TOKENSVC_DIRECTORY=sqlite:books.db"}, more...)...)
}

func TestConfigTheDirectoryIsADatabaseUnlessSaid(t *testing.T) {
	c := mustLoad(t, "", enough[:3]...)
	if c.Directory.Kind != "sqlite" || c.Directory.Value != "tokensvc.db" {
		t.Errorf("it is %+v", c.Directory)
	}
	path := configFile(t, strings.ReplaceAll(enoughYAML, "claim:telnyx_credential", "sqlite:data/books.db"))
	c = mustLoad(t, path, enough[0])
	if want := filepath.Join(filepath.Dir(path), "data/books.db"); c.Directory.Value != want {
		t.Errorf("it is in %s, want %s", c.Directory.Value, want)
	}
}

func TestConfigADatabasesPasswordIsNotShown(t *testing.T) {
	const password = "MARKED-password"
	c := mustLoad(t, "", withEnviron("TOKENSVC_DIRECTORY=postgres://me:"+password+"@127.0.0.1/books")...)
	if c.Directory.Password.Reveal() != password {
		t.Error("the password is lost")
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v", c, c, c), c.Directory.Value, c.Directory.name()} {
		if strings.Contains(shown, password) {
			t.Errorf("the password is in %s", shown)
		}
	}
}

func TestConfigWhatGoesTogetherAboutTheDirectory(t *testing.T) {
	folder := t.TempDir()
	token, short := filepath.Join(folder, "token"), filepath.Join(folder, "short")
	writeKey(t, token, strings.Repeat("t", 32))
	writeKey(t, short, "too short")
	for _, row := range []struct {
		says    string
		environ []string
		want    []string
	}{
		{"a database needs nothing more", inDatabase(), nil},
		{"provisioning takes a name of ours", inDatabase("TOKENSVC_PROVISION_CONNECTION_ID=7"), []string{
			"TOKENSVC_PROVISION_INSTANCE: is required: it keeps this service's credentials apart from others' on the same Telnyx account; set provision.instance in the file, or TOKENSVC_PROVISION_INSTANCE",
		}},
		{"and is complete with it", inDatabase("TOKENSVC_PROVISION_CONNECTION_ID=7", "TOKENSVC_PROVISION_INSTANCE=blue"), nil},
		{"a name alone is for nothing", inDatabase("TOKENSVC_PROVISION_INSTANCE=blue"), []string{
			"TOKENSVC_PROVISION_INSTANCE: has no use without provision.connection_id",
		}},
		{
			"nobody waits longer than a request may take",
			inDatabase("TOKENSVC_PROVISION_CONNECTION_ID=7", "TOKENSVC_PROVISION_INSTANCE=blue", "TOKENSVC_PROVISION_READY_AFTER=20s"),
			[]string{"TOKENSVC_PROVISION_READY_AFTER: must be less than limits.request_timeout, or provision.first_login: retry"},
		},
		{
			"a claim is not managed",
			withEnviron("TOKENSVC_DEVICES=shared", "TOKENSVC_ADMIN_TOKEN_FILE="+token),
			[]string{
				"TOKENSVC_DEVICES: has no use: the directory is no database (sqlite or postgres)",
				"TOKENSVC_ADMIN_TOKEN_FILE: has no use: the directory is no database (sqlite or postgres)",
			},
		},
		{"a file has no password", inDatabase("TOKENSVC_DIRECTORY_PASSWORD_FILE=" + token), []string{
			"TOKENSVC_DIRECTORY_PASSWORD_FILE: has no use: the directory is a file",
		}},
		{
			"one password is enough",
			withEnviron("TOKENSVC_DIRECTORY=postgres://me:x@127.0.0.1/b", "TOKENSVC_DIRECTORY_PASSWORD_FILE="+token),
			[]string{"TOKENSVC_DIRECTORY_PASSWORD_FILE: cannot be used together with a password in the URL: use one or the other"},
		},
		{
			"whoever writes a URL that is refused is told of that alone",
			withEnviron("TOKENSVC_DIRECTORY=postgres://me@db/b", "TOKENSVC_DIRECTORY_PASSWORD_FILE="+token),
			[]string{"TOKENSVC_DIRECTORY: must say sslmode, mostly sslmode=verify-full, and neither prefer nor allow: the database is not on this machine"},
		},
		{"a token may manage it", inDatabase("TOKENSVC_ADMIN_TOKEN_FILE=" + token), nil},
		{"but not one that can be guessed", inDatabase("TOKENSVC_ADMIN_TOKEN_FILE=" + short), []string{
			"TOKENSVC_ADMIN_TOKEN_FILE: the admin token must have at least 32 bytes",
		}},
		{"people may, by rules", inDatabase("TOKENSVC_ADMIN_ISSUER=main", "TOKENSVC_ADMIN_REQUIRE={groups: admins}"), nil},
		{"not without", inDatabase("TOKENSVC_ADMIN_ISSUER=main"), []string{
			"TOKENSVC_ADMIN_REQUIRE: is required with admin.issuer, or everybody could manage the directory; set admin.require in the file, or TOKENSVC_ADMIN_REQUIRE",
		}},
		{"nor strangers", inDatabase("TOKENSVC_ADMIN_ISSUER=other", "TOKENSVC_ADMIN_REQUIRE={groups: admins}"), []string{
			"TOKENSVC_ADMIN_ISSUER: is the name of none of the issuers",
		}},
		{"nor rules alone", inDatabase("TOKENSVC_ADMIN_REQUIRE={groups: admins}"), []string{
			"TOKENSVC_ADMIN_ISSUER: is required with admin.require",
		}},
	} {
		if diff := cmp.Diff(row.want, problemLines(t, "", row.environ)); diff != "" {
			t.Errorf("%s: %s", row.says, diff)
		}
	}
}
