package handler

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// issued is the answer with a token. The token is in the clear here, and only
// here.
type issued struct {
	Token     string           `json:"token"`
	ExpiresAt time.Time        `json:"expires_at"` // whole seconds, UTC
	ExpiresIn int              `json:"expires_in"`
	RefreshIn int              `json:"refresh_in"`
	Device    directory.Device `json:"device"`
	RequestID string           `json:"request_id"`
}

func answerTo(ev *event, token telnyx.LoginToken, now time.Time) issued {
	life := token.ExpiresAt.Sub(now)
	return issued{
		Token:     token.JWT.Reveal(),
		ExpiresAt: token.ExpiresAt.UTC(),
		ExpiresIn: int(life / time.Second),
		RefreshIn: int(refreshIn(life) / time.Second),
		Device:    ev.device,
		RequestID: ev.requestID,
	}
}

// appendTo appends the answer as encoding/json would write it. Nothing in it needs
// an escape: a token is base64url and dots, or telnyx.ParseLoginToken refuses it,
// and devices and request ids are checked letter by letter. A test holds this to
// encoding/json.
func (a issued) appendTo(b []byte) []byte {
	b = append(b, `{"token":"`...)
	b = append(b, a.Token...)
	b = append(b, `","expires_at":"`...)
	b = a.ExpiresAt.AppendFormat(b, time.RFC3339)
	b = append(b, `","expires_in":`...)
	b = strconv.AppendInt(b, int64(a.ExpiresIn), 10)
	b = append(b, `,"refresh_in":`...)
	b = strconv.AppendInt(b, int64(a.RefreshIn), 10)
	b = append(b, `,"device":"`...)
	b = append(b, a.Device...)
	b = append(b, `","request_id":"`...)
	b = append(b, a.RequestID...)
	return append(b, "\"}\n"...)
}

// answers are buffers to write answers in, so that not every request leaves one to
// be collected.
type answers struct{ pool sync.Pool }

// usualAnswer is room for nearly every answer. A longer one's buffer is not kept.
const usualAnswer = 2 << 10

func (p *answers) write(w http.ResponseWriter, a issued) {
	buffer, _ := p.pool.Get().(*[usualAnswer]byte)
	if buffer == nil {
		buffer = new([usualAnswer]byte)
	}
	defer p.pool.Put(buffer)
	write(w, http.StatusOK, "application/json", a.appendTo(buffer[:0]))
}

// writeToken writes a token in our own manner.
func (s *Service) writeToken(w http.ResponseWriter, r *http.Request, ev *event, token telnyx.LoginToken, now time.Time) {
	ev.tellSteps(w.Header())
	if prefersText(r.Header["Accept"]) {
		write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(token.JWT.Reveal()))
		return
	}
	s.answers.write(w, answerTo(ev, token, now))
}

// refreshIn is when to come for the next token: after 75 to 85 % of the life
// left, drawn anew each time, so that phones that logged in together do not
// refresh together.
func refreshIn(life time.Duration) time.Duration {
	return time.Duration((0.75 + 0.10*rand.Float64()) * float64(life)) //nolint:gosec // spreads load, guards nothing
}
