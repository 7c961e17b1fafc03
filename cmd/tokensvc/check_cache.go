package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
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

// tryCache counts a call that nobody makes, which takes what all else takes of it.
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
	if _, ok := r.Calls("check").Take(ctx, 1, time.Second); ok {
		return nil
	}
	select {
	case err := <-news: // told before Take returns, if it was refused
		return err
	default:
		return errNoCache
	}
}

func (p parts) sealingKeys() []secret.Text {
	text, _ := readSealingKeys(p.cfg.Cache.KeyFile) // whose problems have been told of
	return sealingKeys(text)
}
