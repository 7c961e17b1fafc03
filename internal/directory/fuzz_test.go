package directory

import (
	"strings"
	"testing"
)

func FuzzUsersFile(f *testing.F) {
	f.Add([]byte("users: {alice: 11111111-1111-4111-8111-111111111111}"))
	f.Add([]byte("users:\n  acme:bob: {default: 22222222-2222-4222-8222-222222222222, m: ~}\n"))
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
		owners := make(map[string]string)
		for user, h := range users {
			if !strings.HasPrefix(user, "acme:") && !strings.HasPrefix(user, "partner:") {
				t.Fatalf("user key %q", user)
			}
			if h.shared.IsZero() && len(h.byDevice) == 0 {
				t.Fatalf("%q has nothing", user)
			}
			for _, id := range h.byDevice {
				if owner, taken := owners[id.String()]; id.IsZero() || taken && owner != user {
					t.Fatalf("%q has %q, which is %q's", user, id, owner)
				}
				owners[id.String()] = user
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
