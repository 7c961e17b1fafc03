package shared

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// An entry is the format's version, a nonce, and sealed: when the mint of the token
// began, in Unix milliseconds, eight bytes, and the token.
const (
	entryVersion = 1
	sinceBytes   = 8
	sealBytes    = 12 + 16 // nonce and tag
	minEntry     = 1 + sealBytes + sinceBytes
	maxEntry     = minEntry + telnyx.MaxTokenBytes
)

var errKeys = errors.New("there is no sealing key")

func goodKeys(keys []secret.Text) bool {
	return len(keys) > 0 && !slices.ContainsFunc(keys, func(k secret.Text) bool { return k.Len() != KeyBytes })
}

// about is what an entry is authenticated with, and what a key is derived for: an
// entry that is moved to another credential's name, or to another Telnyx's, does
// not open. An id has neither spaces nor line ends, so no two are the same.
func (r *Redis) about(id telnyx.CredentialID) string {
	return "tokensvc login token 1\n" + id.String() + "\n" + r.realm
}

// sealer derives a key from that of the file. A key for each credential keeps the
// nonces, which are drawn, from being drawn twice: that is a matter of 2^32 entries
// under one key, and no credential has so many.
func (r *Redis) sealer(key secret.Text, id telnyx.CredentialID) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, r.about(id), KeyBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (r *Redis) seal(id telnyx.CredentialID, t telnyx.LoginToken, since time.Time) ([]byte, error) {
	keys := r.keys()
	if !goodKeys(keys) {
		return nil, errKeys
	}
	aead, err := r.sealer(keys[0], id)
	if err != nil {
		return nil, err
	}
	content := binary.BigEndian.AppendUint64(nil, uint64(since.UnixMilli()))
	sealed := aead.Seal(nil, nil, append(content, t.JWT.Reveal()...), []byte(r.about(id))) //nolint:gosec // it draws the nonce itself
	return append([]byte{entryVersion}, sealed...), nil
}

// maxSkew is how far the clocks of two replicas may lie apart: what another has just
// minted may seem to be of a moment that is still to come.
const maxSkew = time.Minute

// open returns what is in an entry, or the reason why it is not used.
func (r *Redis) open(id telnyx.CredentialID, entry []byte) (t telnyx.LoginToken, since time.Time, refused string) {
	if len(entry) < minEntry || len(entry) > maxEntry || entry[0] != entryVersion {
		return t, since, Unreadable
	}
	content, ok := r.unseal(id, entry[1:])
	if !ok {
		return t, since, Foreign
	}
	t, err := telnyx.ParseLoginToken(string(content[sinceBytes:]))
	if err != nil {
		return t, since, Malformed
	}
	now := r.now()
	since = time.UnixMilli(int64(binary.BigEndian.Uint64(content))) //nolint:gosec // see seal
	switch {
	case !t.ExpiresAt.After(now):
		return t, since, Expired
	case since.After(now.Add(maxSkew)):
		return t, since, Future
	case since.After(now):
		since = now
	}
	return t, since, ""
}

func (r *Redis) unseal(id telnyx.CredentialID, sealed []byte) (content []byte, ok bool) {
	for _, key := range r.keys() {
		if key.Len() != KeyBytes {
			continue
		}
		aead, err := r.sealer(key, id)
		if err != nil {
			continue
		}
		if content, err := aead.Open(nil, nil, sealed, []byte(r.about(id))); err == nil {
			return content, true
		}
	}
	return nil, false
}
