package shared_test

import (
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/shared"
)

func TestURLs(t *testing.T) {
	for text, want := range map[string][2]string{
		"redis://h":                      {"redis://h", ""},
		"rediss://h.example:6380/15":     {"rediss://h.example:6380/15", ""},
		"redis://h/":                     {"redis://h/", ""},
		"redis://[::1]:6379":             {"redis://[::1]:6379", ""},
		"redis://me@h":                   {"redis://me@h", ""},
		"redis://:p@h":                   {"redis://h", "p"},
		"redis://me:p%40%2F%23%3F%25@h/": {"redis://me@h/", "p@/#?%"},
		"redis://a%40b:p@h":              {"redis://a%40b@h", "p"},
		"redis://:a:b@h":                 {"redis://h", "a:b"},
	} {
		address, password, err := shared.ParseURL(text)
		if err != nil || address != want[0] || password.Reveal() != want[1] {
			t.Errorf("%s: got %s, %q, %v; want %q", text, address, password.Reveal(), err, want)
			continue
		}
		if again, none, err := shared.ParseURL(address); err != nil || again != address || !none.Empty() {
			t.Errorf("%s: what came of it, %s, is not taken as it is: %s, %v", text, address, again, err)
		}
		if _, err := shared.Open(shared.Config{URL: address, Realm: realm}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestURLsThatAreNotTaken(t *testing.T) {
	const marked = "marked"
	for _, text := range []string{
		"", marked, "memory", "unix:///" + marked, "http://" + marked, "redis:" + marked, "redis://", "redis:///0", "redis://:" + marked + "@/0",
		"redis://" + marked + ":0", "redis://" + marked + ":65536", "redis://" + marked + ":-1", "redis://" + marked + ":x", "redis://" + marked + "/x",
		"redis://" + marked + "/01", "redis://" + marked + "/-1", "redis://" + marked + "/0/", "redis://" + marked + "/65536", "redis://h/1?db=" + marked,
		"redis://h/0#" + marked, "redis://h?", "redis://h#", "redis://:" + marked + "#x@h", "redis://:" + marked + "/x@h", "redis://:" + marked + "%zz@h",
		"redis://h1,h2:6379/" + marked, "redis://\x00" + marked,
	} {
		address, password, err := shared.ParseURL(text)
		if err == nil {
			t.Errorf("%q is taken: %s", text, address)
			continue
		}
		if strings.Contains(err.Error(), marked) || address != "" || !password.Empty() {
			t.Errorf("%q: %s, %v", text, address, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("redis://me:p@h:1/2")
	f.Add("rediss://[::1]/0")
	f.Fuzz(func(t *testing.T, text string) {
		address, password, err := shared.ParseURL(text)
		if err != nil {
			return
		}
		if again, none, err := shared.ParseURL(address); err != nil || again != address || !none.Empty() {
			t.Errorf("%q became %q, which is not taken as it is: %q, %v", text, address, again, err)
		}
		if p := password.Reveal(); len(p) > 12 && strings.Contains(address, p) && strings.Count(text, p) < 2 {
			t.Errorf("%q became %q", text, address)
		}
	})
}
