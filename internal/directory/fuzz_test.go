package directory

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func FuzzUsersFile(f *testing.F) {
	f.Add([]byte("users: {alice: 11111111-1111-4111-8111-111111111111}"))
	f.Add([]byte("users:\n  acme:bob: {default: 22222222-2222-4222-8222-222222222222, m: ~}\n"))
	f.Add([]byte("users:\n  acme:a: 22222222-2222-4222-8222-222222222222\n  partner:b: 22222222-2222-4222-8222-22222222222A\n"))
	f.Add([]byte("users:\n  acme:a: 2222222A-2222-4222-8222-222222222222\n  acme:b: 2222222a-2222-4222-8222-222222222222\n"))
	f.Add([]byte("users:\n  acme:a: &u 22222222-2222-4222-8222-222222222222\n  acme:b: {default: *u}\n"))
	f.Add([]byte("users: &a {x: *a}\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("users: {<<: {a: b}}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		users, err := parseUsers(content, "users.yaml", []string{"acme", "partner"})
		if err != nil {
			if strings.Contains(err.Error(), "11111111-1111-") {
				t.Fatalf("the error repeats what the file says: %v", err)
			}
			return
		}
		owners := make(map[telnyx.CredentialID]string)
		for user, h := range users {
			if !strings.HasPrefix(user, "acme:") && !strings.HasPrefix(user, "partner:") {
				t.Fatalf("user key %q", user)
			}
			if h.shared.IsZero() && len(h.byDevice) == 0 {
				t.Fatalf("%q has nothing", user)
			}
			ids := slices.Collect(maps.Values(h.byDevice))
			if len(ids) == 0 {
				ids = append(ids, h.shared)
			}
			for _, id := range ids {
				if owner, taken := owners[id]; id.IsZero() || taken && owner != user {
					t.Fatalf("%q has %q, which is %q's", user, id, owner)
				}
				owners[id] = user
			}
		}
	})
}

func FuzzDevice(f *testing.F) {
	f.Add("default")
	f.Add("a/b")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDevice(s); err == nil && (len(d) == 0 || len(d) > 64 || strings.ContainsAny(s, "/\\ \r\n\x00")) {
			t.Fatalf("%q is accepted", s)
		}
	})
}

func FuzzClaim(f *testing.F) {
	const id = "22222222-2222-4222-8222-22222222222A"
	for _, claims := range []string{
		`{"telnyx":"` + id + `"}`, `{"telnyx":{"desk":"` + id + `","default":7}}`, `{"telnyx":[{"desk":"` + id + `"}]}`,
		`{"telnyx":null}`, `{"telnyx":{"":"` + id + `"}}`, `{"TELNYX":"` + id + `"}`, `{"telnyx":{"desk":{"desk":"` + id + `"}}}`,
	} {
		f.Add([]byte(claims), "desk")
	}
	d, err := NewClaim("telnyx")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, device string) {
		var claims map[string]any
		if json.Unmarshal(payload, &claims) != nil {
			return
		}
		said := claims["telnyx"]
		if devices, ok := said.(map[string]any); ok {
			said = devices[device]
		}
		text, _ := said.(string) // then it is empty, which is no UUID
		want, bad := telnyx.ParseCredentialID(text)
		got, err := d.Find(t.Context(), Query{User: "main:alice", Claims: claims, Device: Device(device)})
		if got != want || (err == nil) != (bad == nil) || err != nil && !errors.Is(err, ErrNoCredential) {
			t.Fatalf("%s for %q: %q and %v, want %q", payload, device, got, err, want)
		}
	})
}
