package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
)

// CacheConfig says where tokens are kept between requests.
type CacheConfig struct {
	// Kind is "memory", the default; "redis": there too, for all replicas; or
	// "none".
	Kind string
	// URL is that of the Redis, without its password.
	URL string
	// Password came with the URL; PasswordFile holds it, and is read for every
	// connection. At most one of them is set.
	Password     secret.Text
	PasswordFile string
	// KeyFile holds the keys that seal tokens in the Redis: the first seals, all
	// open. It is read again whenever it changes. Required with a Redis.
	KeyFile string
}

func (c CacheConfig) isShared() bool { return c.Kind == "redis" }

func cacheSettings(c *Config) []setting {
	return []setting{
		{
			key: "cache", variable: "TOKENSVC_CACHE", byDefault: "memory",
			field: asCache(&c.Cache),
			help:  "Where tokens are kept between requests: in memory, in a Redis too, which replicas share, or nowhere. A URL with a password only in the variable.",
		}, {
			key: "cache_key_file", variable: "TOKENSVC_CACHE_KEY_FILE", unset: "required for a Redis",
			field: asPath(&c.Cache.KeyFile),
			help:  "File of the keys with which tokens in the Redis are sealed: 32 bytes in base64, one key a line. The first seals, all open.",
		}, {
			key: "cache_password_file", variable: "TOKENSVC_CACHE_PASSWORD_FILE", unset: "none",
			field: asPath(&c.Cache.PasswordFile),
			help:  "File that holds the password of the Redis and nothing else. It is read for every connection.",
		},
	}
}

func asCache(into *CacheConfig) field {
	f := field{shape: oneText, expects: "memory, none, redis://… or rediss://…"}
	f.current = func() any { return []any{into.Kind, into.URL, into.Password} } // the files have settings of their own
	f.accept = func(v value) []flaw {
		w := v.words[0]
		parsed, err := parseCache(w.text)
		if err != nil {
			return []flaw{f.flawAt(w.node, err)}
		}
		if w.node != nil && !parsed.Password.Empty() {
			return []flaw{{w.node, "must not hold the password: use cache_password_file, or the variable TOKENSVC_CACHE"}}
		}
		into.Kind, into.URL, into.Password = parsed.Kind, parsed.URL, parsed.Password
		return nil
	}
	return f
}

func parseCache(text string) (CacheConfig, error) {
	switch scheme, _, _ := strings.Cut(text, ":"); {
	case text == "memory" || text == "none":
		return CacheConfig{Kind: text}, nil
	case scheme == "redis" || scheme == "rediss":
		url, password, err := shared.ParseURL(text)
		return CacheConfig{Kind: "redis", URL: url, Password: password}, err
	}
	return CacheConfig{}, errUnexpected
}

// checkCache judges what belongs to a Redis.
func (l *configLoader) checkCache() {
	if l.broken["cache"] { // then it is unknown what goes with it
		return
	}
	c := l.config.Cache
	refuse := func(key, text string) { l.refuse(key, l.at(key), text) }
	if !c.isShared() {
		for _, key := range []string{"cache_key_file", "cache_password_file"} {
			if l.isSet(key) {
				refuse(key, "has no use: the cache is no Redis")
			}
		}
		if l.config.Limits.Scope == scopeShared {
			refuse("limits.scope", "can be shared only in a Redis: see cache")
		}
		return
	}
	if c.KeyFile == "" && !l.broken["cache_key_file"] {
		refuse("cache_key_file", "is required for a Redis, in which tokens are sealed; "+bothWays("cache_key_file"))
	}
	if c.PasswordFile != "" && !c.Password.Empty() {
		refuse("cache_password_file", "cannot be used together with a password in the URL: use one or the other")
	}
}

const maxSealKeys = 8

// readSealingKeys reads the keys of the Redis's tokens. They stay as they are
// written; sealingKeys takes them apart.
func readSealingKeys(path string) (secret.Text, error) {
	text, err := readSmallFile(path, maxSecretFile, "keys of the cache")
	if err != nil {
		return secret.Text{}, err
	}
	lines := strings.Fields(text)
	switch {
	case len(lines) == 0:
		return secret.Text{}, errors.New("there is no key in it: make one with openssl rand -base64 32")
	case len(lines) > maxSealKeys:
		return secret.Text{}, fmt.Errorf("there must be at most %d keys in it", maxSealKeys)
	}
	for i, line := range lines {
		if key, err := base64.StdEncoding.DecodeString(line); err != nil || len(key) != shared.KeyBytes {
			return secret.Text{}, fmt.Errorf("each of its lines must be %d bytes in base64, as openssl rand -base64 32 makes them%s", shared.KeyBytes, whichLine(i, len(lines)))
		}
	}
	return secret.New(strings.Join(lines, "\n")), nil
}

func whichLine(i, of int) string {
	if of == 1 {
		return ""
	}
	return fmt.Sprintf("; key %d is not", i+1)
}

// sealingKeys are the keys in a text that readSealingKeys has read.
func sealingKeys(text secret.Text) []secret.Text {
	var keys []secret.Text
	for line := range strings.Lines(text.Reveal()) {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		keys = append(keys, secret.New(string(key)))
	}
	return keys
}

func readCachePassword(path string) (secret.Text, error) {
	return readLine(path, 1, "the cache's password")
}
