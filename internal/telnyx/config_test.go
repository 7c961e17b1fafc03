package telnyx_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestNewRefusesNonsenseByName(t *testing.T) {
	some := key("KEY")
	for _, row := range []struct {
		name string
		cfg  telnyx.Config
	}{
		{"APIKeys", telnyx.Config{}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "http://MARKED.example.com/v2"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https://user:MARKED@example.com/v2"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https://example.com/v2?key=MARKED"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https://example.com/v2#MARKED"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https://example.com/v2?"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "ftp://MARKED/v2"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "MARKED/v2"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https:///v2"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https://:443/v2"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "https:MARKED"}},
		{"BaseURL", telnyx.Config{APIKeys: some, BaseURL: "http://MARKED\x7f"}},
		{"Timeout", telnyx.Config{APIKeys: some, Timeout: -1}},
		{"Timeout", telnyx.Config{APIKeys: some, Timeout: time.Hour}},
		{"MaxConnections", telnyx.Config{APIKeys: some, MaxConnections: -1}},
		{"MaxConnections", telnyx.Config{APIKeys: some, MaxConnections: 1 << 20}},
		{"UserAgent", telnyx.Config{APIKeys: some, UserAgent: "MARKED\r\nX: y"}},
	} {
		_, err := telnyx.New(row.cfg)
		if err == nil || !strings.Contains(err.Error(), row.name) || strings.Contains(err.Error(), "MARKED") {
			t.Errorf("New(%+v): %v, want an error that names %s and shows no value", row.cfg, err, row.name)
		}
	}
}

func TestNewAcceptsLoopbackAndHTTPS(t *testing.T) {
	for _, url := range []string{"", "https://api.example.com/v2/", "http://localhost:1/v2", "http://127.0.0.9", "http://[::1]:80/v2"} {
		if _, err := telnyx.New(telnyx.Config{APIKeys: key("KEY"), BaseURL: url}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestAReplacedKeyIsTakenUp(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{APIKey: "KEYnew"})
	id := parseID(t, server.AddCredential(telnyxtest.Credential{}))
	var current atomic.Value
	current.Store("KEYold")
	client := newClient(t, telnyx.Config{BaseURL: server.URL(), APIKeys: func() []secret.Text {
		return []secret.Text{secret.New(current.Load().(string))}
	}})
	_, err := client.Mint(t.Context(), id)
	checkError(t, err, telnyx.ErrKeyRejected)
	current.Store("KEYnew")
	if _, err := client.Mint(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestAKeyThatCannotBeSentIsNotSent(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	for _, k := range []string{"", "MARKED\nKEY", "MARKED KEY", "MARKEDé", strings.Repeat("MARKED", 1000)} {
		client := newClient(t, telnyx.Config{BaseURL: server.URL(), APIKeys: key(k)})
		_, err := client.Mint(t.Context(), anyID(t))
		if e := checkError(t, err, telnyx.ErrKeyRejected); e.Uncertain || server.Connections() > 0 {
			t.Errorf("%v: something was sent", err)
		}
	}
}

func TestArgumentsThatTelnyxCouldNotAcceptAreNotSent(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	client := newClient(t, telnyx.Config{BaseURL: server.URL()})
	for _, q := range []telnyx.Query{
		{Page: -1}, {Page: 1 << 30}, {Size: -1}, {Size: 251}, {Status: "MARKED"}, {ResourceID: "1234"}, {ResourceID: "connection:"},
		{ResourceID: "connection:1&MARKED=2"}, {Name: "MARKED\n"}, {Tag: "MARKED\x00"}, {SIPUsername: strings.Repeat("MARKED", 100)}, {Name: "\xffMARKED"},
	} {
		_, err := client.Credentials(t.Context(), q)
		checkError(t, err, telnyx.ErrInvalid)
	}
	for _, n := range []telnyx.NewCredential{
		{}, {ConnectionID: "MARKED/1"}, {ConnectionID: "1", Name: "MARKED\n"}, {ConnectionID: "1", Tag: strings.Repeat("MARKED", 100)},
	} {
		_, err := client.CreateCredential(t.Context(), n)
		checkError(t, err, telnyx.ErrInvalid)
	}
	_, err := client.Mint(t.Context(), telnyx.CredentialID{})
	checkError(t, err, telnyx.ErrCredentialRejected)
	checkError(t, client.DeleteCredential(t.Context(), telnyx.CredentialID{}), telnyx.ErrCredentialRejected)
	_, err = client.UpdateCredential(t.Context(), telnyx.CredentialID{}, time.Now())
	checkError(t, err, telnyx.ErrCredentialRejected)
	_, err = client.UpdateCredential(t.Context(), anyID(t), time.Time{})
	checkError(t, err, telnyx.ErrInvalid)
	if server.Connections() > 0 {
		t.Error("something was sent")
	}
}

func TestPaging(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	client := newClient(t, telnyx.Config{BaseURL: server.URL()})
	want := map[telnyx.CredentialID]bool{}
	for range 7 {
		want[parseID(t, server.AddCredential(telnyxtest.Credential{Name: "0", Tag: "t"}))] = true
	}
	for range 3 {
		server.AddCredential(telnyxtest.Credential{Name: "other"})
	}
	pages := 0
	for number := 1; ; number++ {
		page, err := client.Credentials(t.Context(), telnyx.Query{Page: number, Size: 3, Name: "0"})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, c := range page.Credentials {
			delete(want, c.ID)
		}
		if page.Last() {
			break
		}
	}
	if len(want) > 0 || pages != 3 {
		t.Errorf("%d pages, without %v", pages, want)
	}
}
