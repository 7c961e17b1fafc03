package authz

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// nonceLife is how long a nonce is handed out. It is accepted for as long
// again, so that one handed out in the last moment is of use.
const nonceLife = 5 * time.Minute

// nonces makes and checks the nonces of DPoP proofs (RFC 9449 section 9). A
// nonce shows that its proof was made lately, whatever the clock of its maker
// says, and not long ago in stock. Nothing is kept: it is a MAC over the time,
// so replicas that have one key accept each other's.
type nonces struct {
	key func() secret.Text
	now func() time.Time
}

// newNonces takes the key as a function, which is asked every time, so that it
// can be replaced. Nothing is valid while it is empty.
func newNonces(key func() secret.Text, now func() time.Time) *nonces {
	return &nonces{key, now}
}

// current returns the nonce to hand out now, or nothing if there is no key.
func (n *nonces) current() string { return nonceOf(n.key(), n.period()) }

// valid reports whether the nonce was handed out in this period or in the one
// before.
func (n *nonces) valid(nonce string) bool {
	key, period := n.key(), n.period()
	return !key.Empty() &&
		(hmac.Equal([]byte(nonce), []byte(nonceOf(key, period))) ||
			hmac.Equal([]byte(nonce), []byte(nonceOf(key, period-1))))
}

func (n *nonces) period() int64 { return n.now().Unix() / int64(nonceLife/time.Second) }

func nonceOf(key secret.Text, period int64) string {
	if key.Empty() {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte("tokensvc DPoP nonce\x00"))                  // should the key ever serve for something else too
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(period))) //nolint:gosec // any 64 bits will do
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
