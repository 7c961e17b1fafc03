package authz

import (
	"crypto/sha256"
	"errors"
	"time"
	"unsafe"
)

// For how long a bearer is known.
const (
	maxVerifiedLife = 5 * time.Minute
	refusedLife     = 10 * time.Second // of an answer of no, when the issuer was asked
)

type digest = [sha256.Size]byte

// bearerKey is what a bearer is known by. What is known of it from one place is not
// known from another, nor forgotten for it.
type bearerKey struct {
	sum   digest
	place int
}

// digestOf hashes a bearer where it lies. A copy would be most of what it costs
// to know a caller from before.
func digestOf(text string) digest {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(text), len(text))) //nolint:gosec // only read, and not kept
}

// verified is what is known of a bearer. The bearer itself is not kept.
type verified struct {
	issuer  *trusted
	who     *Principal // nil if the issuer, when asked, said no
	refused Reason     // why then
	binding binding
	until   time.Time
	weight  uint32
}

// entryBytes is what a cached answer takes, besides its claims.
const entryBytes = 1024

func (v *Verifier) remember(key bearerKey, known *verified, now time.Time, size int) {
	known.until = now.Add(known.issuer.believedFor())
	if ends := known.who.ExpiresAt; !ends.IsZero() && ends.Before(known.until) {
		known.until = ends
	}
	if !known.until.After(now) { // accepted by clock skew alone, or not to be kept
		return
	}
	// Decoded claims take about three times the room of their JSON.
	known.weight = uint32(entryBytes + 3*size) //nolint:gosec // size is bounded where it is read
	v.verified.Set(key, known)
}

// rememberRefusal remembers that an issuer, when asked, said no, so that one dead
// token cannot have it asked all the time. That it gave no answer is not
// remembered.
func (v *Verifier) rememberRefusal(key bearerKey, asked *trusted, err error, now time.Time) {
	var no *InvalidError
	if asked == nil || asked.introspector == nil || !errors.As(err, &no) {
		return
	}
	v.verified.Set(key, &verified{issuer: asked, refused: no.Reason, until: now.Add(refusedLife), weight: entryBytes})
}
