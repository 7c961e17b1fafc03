package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// checkCache sees whether the cache that replicas share answers, and does what will be
// asked of it. Without it the service is only slower, but whoever has set one up
// wants to know.
func (p parts) checkCache(ctx context.Context) []checked {
	const part = "cache"
	c := p.cfg.Cache
	if !c.isShared() {
		return nil
	}
	const advice = "see that cache and cache_password_file are right, that the Redis can be reached from here, and that its user may do what docs/cache.md says"
	if err := p.tryCache(ctx); err != nil {
		return []checked{amiss(part, "redis: "+err.Error(), advice)}
	}
	return []checked{inOrder(part, "redis: answers; tokens in it are sealed with "+counted(len(p.sealingKeys()), "key"))}
}

var errNoCache = errors.New("it does not answer in time")

// tryCache connects, and does once what the service does with it.
func (p parts) tryCache(ctx context.Context) error {
	news := make(chan error, 16)
	r, err := shared.Open(shared.Config{
		URL: p.cfg.Cache.URL, Password: p.cfg.Cache.password(), Keys: p.sealingKeys, Realm: p.cfg.Telnyx.BaseURL,
		OnState: func(_ bool, err error) {
			select {
			case news <- err:
			default: // the first ones say it all
			}
		},
		Timeout: time.Second, // whoever looks may be far away
	})
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	select {
	case err := <-news:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return errNoCache
	}
	if p.useCache(ctx, r) {
		return nil
	}
	select {
	case err := <-news: // told before a call returns that was refused
		return err
	default:
		return errNoCache
	}
}

// useCache does with the cache once all that the service does, about a credential that
// nobody has, and reports whether it worked.
func (p parts) useCache(ctx context.Context, r *shared.Redis) bool {
	id, token := madeUp()
	_, counted := r.Calls("check").Take(ctx, 1000, time.Second)
	_, allowed := r.Allow(ctx, "check", id.String(), 1000, 1000)
	release, claimed := r.Claim(ctx, id)
	r.Put(ctx, id, token, now())
	_, _, there := r.Take(ctx, id)
	release()
	r.Forget(ctx, id)
	_, _, still := r.Take(ctx, id)
	return counted && allowed && claimed && there && !still
}

// madeUp is a credential that there is not, and a token for it that is none.
func madeUp() (telnyx.CredentialID, telnyx.LoginToken) {
	random := make([]byte, 16)
	rand.Read(random) // never fails
	text := hex.EncodeToString(random)
	id, err := telnyx.ParseCredentialID(text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:])
	if err != nil {
		panic(err) // it is one
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	exp := now().Add(time.Minute).Unix()
	token, err := telnyx.ParseLoginToken(part(`{"alg":"none"}`) + "." + part(`{"exp":`+strconv.FormatInt(exp, 10)+`}`) + "." + part("check"))
	if err != nil {
		panic(err) // it is one in form
	}
	return id, token
}

func (p parts) sealingKeys() []secret.Text {
	text, _ := readSealingKeys(p.cfg.Cache.KeyFile) // whose problems have been told of
	return sealingKeys(text)
}
