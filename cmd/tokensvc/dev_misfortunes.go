package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// loopingLogin is the error after which Telnyx's SDK logs in again at once.
const loopingLogin = -32000

// goneWithin is how long the credentials of somebody who was offboarded are waited
// for to be deleted. While Telnyx is down they are not.
const goneWithin = 3 * time.Second

var errNoMisfortune = errors.New("there is no such misfortune")

// A misfortune is something that happens to phones, as the softphone is told of it.
type misfortune struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	On    *bool  `json:"on"` // whether it lasts now; nil for what is over in a moment

	personal bool // whether it happens to one user, and not to all
	happen   func(ctx context.Context, user string, on bool) error
}

// misfortunes are all that can be had, one at a time.
type misfortunes struct {
	telnyx *telnyxtest.Server
	books  books // by the admin API, as an operator has them
	all    []misfortune

	turn sync.Mutex
	mu   sync.Mutex
	last map[string][]string // misfortunes that last, and the users they were wished for
}

func newMisfortunes(telnyx *telnyxtest.Server, b books) *misfortunes {
	m := &misfortunes{telnyx: telnyx, books: b, last: make(map[string][]string)}
	lasts := new(bool)
	m.all = []misfortune{
		{Name: "expire", Title: "My token expires now", happen: m.expire},
		{Name: "lose-connection", Title: "The connection is lost", happen: m.loseConnection},
		{Name: "telnyx-down", Title: "Telnyx's API is down", On: lasts, happen: m.telnyxDown},
		{Name: "key-rejected", Title: "Telnyx rejects the API key", On: lasts, happen: m.keyRejected},
		{Name: "offboard", Title: "I am offboarded", On: lasts, personal: true, happen: m.offboard},
		{Name: "login-loop", Title: "Every login fails (-32000)", On: lasts, happen: m.loginLoop},
	}
	return m
}

// list says how all of them stand for a user; for anybody, if it is none.
func (m *misfortunes) list(user string) []misfortune {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.all)
	for n, one := range all {
		if one.On == nil {
			continue
		}
		struck := m.last[one.Name]
		on := len(struck) > 0
		if one.personal && user != "" {
			on = slices.Contains(struck, user)
		}
		all[n].On = &on
	}
	return all
}

// strike has one happen, or one that lasts end. Of on only what lasts takes notice;
// without it, it begins.
func (m *misfortunes) strike(ctx context.Context, name, user string, on *bool) error {
	n := slices.IndexFunc(m.all, func(one misfortune) bool { return one.Name == name })
	if n < 0 {
		return errNoMisfortune
	}
	begins := on == nil || *on
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.all[n].happen(ctx, user, begins); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	others := slices.DeleteFunc(m.last[name], func(struck string) bool { return struck == user || !m.all[n].personal })
	if begins && m.all[n].On != nil {
		others = append(others, user)
	}
	m.last[name] = others
	return nil
}

// credentials are the user's at the moment.
func (m *misfortunes) credentials(ctx context.Context, user string) (ids []string, err error) {
	u, err := m.books.user(ctx, user)
	for _, d := range u.Devices {
		ids = append(ids, d.Credential)
	}
	return ids, err
}

// expire ends the user's tokens before their time. The service knows nothing of it
// and hands out the one that it has kept, to whoever does not ask for a fresh one.
func (m *misfortunes) expire(ctx context.Context, user string, _ bool) error {
	ids, err := m.credentials(ctx, user)
	for _, id := range ids {
		m.telnyx.ExpireTokens(id)
	}
	return err
}

func (m *misfortunes) loseConnection(ctx context.Context, user string, _ bool) error {
	ids, err := m.credentials(ctx, user)
	m.drop(ids)
	return err
}

func (m *misfortunes) drop(ids []string) {
	for _, id := range ids {
		m.telnyx.DropSessions(id)
	}
}

func (m *misfortunes) telnyxDown(_ context.Context, _ string, on bool) error {
	m.telnyx.ClearFaults()
	if on {
		m.telnyx.Inject(telnyxtest.Fault{Status: http.StatusServiceUnavailable})
	}
	return nil
}

func (m *misfortunes) keyRejected(_ context.Context, _ string, on bool) error {
	if on {
		m.telnyx.AcceptKeys("the key of another account")
	} else {
		m.telnyx.AcceptKeys(telnyxtest.DefaultAPIKey)
	}
	return nil
}

// offboard takes the user's access away as an operator would. What Telnyx does with
// a phone that is registered when its credential is deleted is not known, so the
// phone loses its connection, and has to log in again.
func (m *misfortunes) offboard(ctx context.Context, user string, on bool) error {
	if !on {
		_, err := m.books.enable(ctx, user)
		return err
	}
	ids, err := m.credentials(ctx, user)
	if err != nil {
		return err
	}
	if _, err := m.books.disable(ctx, user); err != nil {
		return err
	}
	m.awaitGone(ctx, ids)
	m.drop(ids)
	return nil
}

// awaitGone waits until none of the credentials is at Telnyx any more, for a while.
func (m *misfortunes) awaitGone(ctx context.Context, ids []string) {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for slices.ContainsFunc(m.telnyx.Credentials(), func(c telnyxtest.Credential) bool { return slices.Contains(ids, c.ID) }) {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// loginLoop has the user's phone log in, and every login fail.
func (m *misfortunes) loginLoop(ctx context.Context, user string, on bool) error {
	if !on {
		m.telnyx.RefuseLogins(0, 0)
		return nil
	}
	ids, err := m.credentials(ctx, user)
	if err != nil {
		return err
	}
	m.telnyx.RefuseLogins(loopingLogin, 0)
	m.drop(ids)
	return nil
}
