package phone_test

import "strings"

// seen is what anybody could have seen of a browser, and the secrets that were
// in it, which must not be among that.
type seen struct {
	Addresses, Console, Storage []string
	Cookies                     []struct{ Name, Value string }
	Requests                    []request
	Sockets                     []socket
	Databases, Caches           []string // by name
	Tokens, Bearers, Refreshes  []string
}

type request struct{ Method, URL, Resource string }

// socket is a tab's connection to Telnyx: the methods that went to and fro, and
// the errors that came.
type socket struct {
	Tab, URL  string
	Sent, Got []string
}

func (b *browser) seen() seen {
	b.t.Helper()
	var s seen
	b.do(order{Do: "seen"}, &s)
	return s
}

// asked is how often tokens were asked for.
func (s seen) asked() (n int) {
	for _, r := range s.Requests {
		if r.Method == "POST" && strings.HasSuffix(r.URL, "/v1/token") {
			n++
		}
	}
	return n
}

// logins is how often tabs have logged in to Telnyx.
func (s seen) logins() (n int) {
	for _, socket := range s.Sockets {
		n += socket.logins()
	}
	return n
}

func (s socket) logins() (n int) {
	for _, method := range s.Sent {
		if method == "login" {
			n++
		}
	}
	return n
}

// wantNoSecret wants no secret of the sign-in and no login token where others read:
// in an address, the console, or what stays in the browser. Every test ends with it.
func (b *browser) wantNoSecret() {
	b.t.Helper()
	if b.t.Failed() || b.t.Skipped() {
		return // the driver may be gone, or nobody has been anywhere
	}
	s := b.seen()
	if len(s.Bearers) == 0 || len(s.Tokens) == 0 && s.logins() > 0 {
		b.t.Errorf("%d login tokens and %d bearers seen: this proves little", len(s.Tokens), len(s.Bearers))
	}
	if len(s.Databases) > 0 || len(s.Caches) > 0 {
		b.t.Errorf("the browser keeps the databases %q and the caches %q, want none", s.Databases, s.Caches)
	}
	places := map[string]string{
		"an address":     strings.Join(s.Addresses, "\n"),
		"the console":    strings.Join(s.Console, "\n"),
		"what is stored": strings.Join(s.Storage, "\n"),
	}
	for _, c := range s.Cookies {
		places["what is stored"] += "\n" + c.Name + "=" + c.Value
	}
	for _, r := range s.Requests {
		places["an address"] += "\n" + r.URL
	}
	for _, socket := range s.Sockets {
		places["an address"] += "\n" + socket.URL
	}
	for what, secrets := range map[string][]string{"a login token": s.Tokens, "a bearer": s.Bearers, "a refresh token": s.Refreshes} {
		for _, secret := range secrets {
			for place, text := range places {
				if strings.Contains(text, secret) {
					b.t.Errorf("%s is in %s", what, place)
				}
			}
		}
	}
}
