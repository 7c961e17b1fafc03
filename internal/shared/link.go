package shared

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/tokensvc/tokensvc/internal/crash"
)

const (
	// dialTimeout bounds connecting and introducing oneself. Nobody waits for it.
	dialTimeout = 2 * time.Second
	// maxInFlight bounds the operations that go on at once. Redis does as many in
	// some ten milliseconds, so whoever finds it full would not be served in time.
	maxInFlight = 1024
	// ringScale makes room for twice as many: the library blocks where there is
	// none, and counts those that nobody waits for any more too.
	ringScale = 11
	// maxSlow is how many operations may time out one after the other until the
	// connection is given up.
	maxSlow = 3
	buffer  = 32 << 10
)

var (
	errAway   = errors.New("Redis is away")
	errBusy   = errors.New("too many wait for Redis")
	errSlow   = errors.New("it does not answer in time")
	errUsedUp = errors.New("the connection has ended")
)

var errAnswer = fmt.Errorf("%w: it answers something else than was asked", errProtocol)

// A link is one connection. When it ends another link is made, and not by the
// library: it would connect in the middle of an operation, and have others wait.
type link struct {
	client rueidis.Client
	since  time.Time // by the machine's clock
	ended  chan struct{}
	why    atomic.Pointer[error] // set before ended is closed

	conn     atomic.Pointer[guard]
	inFlight atomic.Int64
	slow     atomic.Int64 // operations that timed out since the last answer
}

// dial connects and introduces itself. The link is to be closed.
func (r *Redis) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	l := &link{since: time.Now(), ended: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { l.end(ctx.Err()) })
	defer stop()
	err := r.introduce(ctx, l)
	if err == nil {
		return l, nil
	}
	// Who ended the connection knows best why, unless it was the library, which
	// closes it for the reason that it returns.
	if why := l.why.Load(); why != nil && !errors.Is(*why, net.ErrClosed) {
		err = *why
	}
	l.close()
	return nil, inOurWords(err)
}

func (r *Redis) introduce(ctx context.Context, l *link) (err error) {
	defer crash.Into(&err)
	l.client, err = rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{r.to.address}, SelectDB: r.to.database,
		AuthCredentialsFn: r.credentials,
		DialCtxFn:         func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return l.connect(ctx, r.to) },
		// A negative KeepAlive keeps the library from pinging: Run does.
		Dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: -1}, ConnWriteTimeout: dialTimeout,
		// One connection, on which answers come in order: whoever is answered knows
		// that nobody before him still waits.
		PipelineMultiplex: -1, AlwaysPipelining: true, RingScaleEachConn: ringScale,
		ReadBufferEachConn: buffer, WriteBufferEachConn: buffer,
		// The guard takes this version of the protocol only.
		AlwaysRESP2: true, DisableCache: true,
		ForceSingleClient: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
	})
	if err != nil {
		return err
	}
	answer, err := l.ask(ctx, r.timeout, ping) // one that is too slow would only cost time
	if err != nil {
		return err
	}
	if text, err := answer.ToString(); err != nil || text != "PONG" {
		return errAnswer
	}
	return nil
}

func ping(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
	return c.Do(ctx, c.B().Ping().Build())
}

func (r *Redis) credentials(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	c := rueidis.AuthCredentials{Username: r.to.user}
	if r.password == nil {
		return c, nil
	}
	password, err := r.password()
	if err != nil {
		return c, &passwordError{err}
	}
	c.Password = password.Reveal()
	return c, nil
}

// connect makes the link's connection: once.
func (l *link) connect(ctx context.Context, to target) (net.Conn, error) {
	if l.conn.Load() != nil {
		return nil, errUsedUp
	}
	dialer := &net.Dialer{}
	conn, err := dialer.DialContext(ctx, "tcp", to.address)
	if err != nil {
		return nil, err
	}
	if to.tls != nil {
		encrypted := tls.Client(conn, to.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = encrypted
	}
	g := &guard{Conn: conn, onEnd: l.note}
	l.conn.Store(g)
	if ctx.Err() != nil { // end may have come too early to find the connection
		_ = g.Close()
	}
	return g, nil
}

// note takes note that the connection ends, and why if nobody has said so before.
func (l *link) note(err error) {
	if l.why.CompareAndSwap(nil, &err) {
		close(l.ended)
	}
}

// end ends the connection, and with it whatever waits for an answer.
func (l *link) end(err error) {
	l.note(err)
	if conn := l.conn.Load(); conn != nil {
		_ = conn.Conn.Close()
	}
}

// cause is why the link has ended, in words of ours.
func (l *link) cause() error { return inOurWords(*l.why.Load()) }

// close frees what the link holds.
func (l *link) close() {
	l.end(net.ErrClosed)
	if l.client != nil {
		l.client.Close()
	}
}

// ask asks Redis, and waits no longer than for the time-out. Its error is
// rueidis.Nil if what is asked for is not there.
func (r *Redis) ask(ctx context.Context, do func(context.Context, rueidis.Client) rueidis.RedisResult) (rueidis.RedisMessage, error) {
	l := r.link.Load()
	if l == nil {
		return rueidis.RedisMessage{}, errAway
	}
	defer l.inFlight.Add(-1)
	if l.inFlight.Add(1) > maxInFlight {
		return rueidis.RedisMessage{}, errBusy
	}
	answer, err := l.ask(ctx, r.timeout, do)
	if ctx.Err() == nil || err == nil { // else the caller has gone, which says nothing of Redis
		r.judge(l, err)
	}
	return answer, err
}

func (l *link) ask(ctx context.Context, timeout time.Duration, do func(context.Context, rueidis.Client) rueidis.RedisResult) (_ rueidis.RedisMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer crash.Into(&err)
	return do(ctx, l.client).ToMessage()
}

// judge ends a link that does not work.
func (r *Redis) judge(l *link, err error) {
	_, isRefusal := rueidis.IsRedisErr(err)
	switch {
	case err == nil, isRefusal, rueidis.IsRedisNil(err):
		l.slow.Store(0)
	case errors.Is(err, context.DeadlineExceeded):
		if l.slow.Add(1) >= maxSlow {
			l.end(errSlow)
		}
		return
	default:
		l.end(err)
		return
	}
	if !isRefusal {
		return
	}
	reason := refusalOf(err)
	if r.refused.news(reason, r.now()) {
		r.onState(true, reason)
	}
	// Where a name leads to another server after this one has become a replica, a
	// new connection finds it.
	if errors.Is(reason, errReadOnly) && time.Since(l.since) > readOnlyPatience {
		l.end(reason)
	}
}

// readOnlyPatience is how long a server is kept to that takes no writes: if another
// one were there, a new connection would have found it.
const readOnlyPatience = 30 * time.Second
