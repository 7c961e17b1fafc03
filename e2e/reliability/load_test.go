package reliability_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	noAnswer     = "no answer"
	issued       = "issued"
	anotherToken = "another's token"

	callerPatience = 25 * time.Second // more than the service allows itself
	answerLimit    = 64 << 10         // bytes
)

// rate is how many requests there are in a second, of everybody together. As a
// part of all tests many rows run at once, on few processors.
func rate() int {
	if thorough() {
		return 40
	}
	return 20
}

// mix is who asks, one after another: half of them holders.
var mix = []group{holders, newcomers, holders, newcomers, holders, agers, holders, newcomers}

// sample is a request and what came of it.
type sample struct {
	who     group
	sent    time.Time
	took    time.Duration
	outcome string // the code of the problem, or one of the above
	source  string // of the token, as logged
	why     string // there is none, as logged, or as the caller saw it
	id      string // of the request
	retry   time.Duration
	left    time.Duration // of the token's life, as the service says
}

// load is a crowd that asks at a steady rate, whatever it is answered.
type load struct {
	t         *testing.T
	w         *world
	client    *http.Client
	sparing   atomic.Bool // agers do not ask yet: it would renew their tokens
	stop      context.CancelFunc
	done      chan struct{}
	newcomers atomic.Int64 // who have asked

	mu      sync.Mutex
	samples []sample
	pending map[int]time.Time // when those were sent that have no answer yet
}

// startLoad begins to ask.
func (w *world) startLoad(t *testing.T) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, w: w, client: w.newClient(t), stop: stop, done: make(chan struct{}), pending: map[int]time.Time{}}
	l.sparing.Store(true)
	go l.ask(ctx)
	return l
}

// newClient makes a client with a connection for each request. One that keeps them
// also keeps those that it opened and did not need after all. The service closes
// such a one after five seconds of silence, and a request that is sent in that very
// moment has no answer, though nothing is broken.
func (w *world) newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	return &http.Client{Timeout: callerPatience, Transport: transport}
}

func (l *load) ask(ctx context.Context) {
	defer close(l.done)
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := time.NewTicker(time.Second / time.Duration(rate()))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		user := l.next(n)
		l.mu.Lock()
		l.pending[n] = time.Now()
		l.mu.Unlock()
		asking.Go(func() {
			s := l.w.ask(context.WithoutCancel(ctx), l.client, n, user)
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.pending, n)
			l.samples = append(l.samples, s)
		})
	}
}

// next is who asks as the nth.
func (l *load) next(n int) string {
	g := mix[n%len(mix)]
	switch {
	case g == newcomers:
		return g.name(int(l.newcomers.Add(1)-1) % l.w.newcomers)
	case g == agers && !l.sparing.Load() && !l.w.noAgers:
		return g.name(n / len(mix) % howManyAgers)
	}
	return holders.name(n % howManyHolders)
}

// end waits for all answers, and returns what came of every request.
func (l *load) end() []sample {
	l.stop()
	<-l.done
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.samples
}

// lastFailure returns when the last request was sent that failed, of those sent
// since a moment, and until when all have been answered.
func (l *load) lastFailure(since time.Time) (failed, answered time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed, answered = since, time.Now()
	for _, s := range l.samples {
		if s.outcome != issued && s.sent.After(failed) {
			failed = s.sent
		}
	}
	for _, sent := range l.pending {
		if sent.After(since) && sent.Before(answered) {
			answered = sent
		}
	}
	return failed, answered
}

// ask asks the nth service for a token, once. Any goroutine may.
func (w *world) ask(ctx context.Context, client *http.Client, n int, user string) sample {
	return w.askAs(ctx, client, w.urls[n%len(w.urls)], user, w.bearer(user))
}

// askAs asks with a bearer that is, or says it is, that user's.
func (w *world) askAs(ctx context.Context, client *http.Client, url, user, bearer string) sample {
	s := sample{who: groupOf(user), outcome: noAnswer, sent: time.Now()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/token", http.NoBody)
	if err != nil {
		return s
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := client.Do(req)
	s.took = time.Since(s.sent)
	if err != nil {
		s.why = err.Error()
		return s
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	s.took = time.Since(s.sent)
	if err != nil {
		s.why = err.Error()
		return s
	}
	var said struct {
		Token, Code string
		ExpiresIn   int `json:"expires_in"`
	}
	if json.Unmarshal(body, &said) != nil {
		said.Code = "status " + strconv.Itoa(res.StatusCode)
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	s.retry, s.id, s.outcome = time.Duration(seconds)*time.Second, res.Header.Get("X-Request-Id"), said.Code
	if res.StatusCode == http.StatusOK {
		s.outcome, s.left = issued, time.Duration(said.ExpiresIn)*time.Second
		if owner, ok := w.telnyx.CredentialOf(said.Token); !ok || owner != w.credentials[user] {
			s.outcome = anotherToken
		}
	}
	return s
}

// processes are all that there are and were.
func (w *world) processes() []*instance { return append(slices.Clone(w.former), w.services...) }

// explain finds in the services' logs where each token came from, or why there is
// none.
func (w *world) explain(samples []sample) {
	type line struct {
		ID            string `json:"request_id"`
		Source, Error string
	}
	logged := map[string]line{}
	for _, p := range w.processes() {
		for text := range bytes.Lines([]byte(p.Log())) {
			var entry line
			if json.Unmarshal(text, &entry) == nil && entry.ID != "" {
				logged[entry.ID] = entry
			}
		}
	}
	for i := range samples {
		entry := logged[samples[i].id]
		samples[i].source = entry.Source
		if samples[i].outcome != noAnswer { // of which only the caller knows why
			samples[i].why = entry.Error
		}
	}
}

// checkOutput wants no secret and no crash in what the services wrote.
func (w *world) checkOutput(t *testing.T) {
	t.Helper()
	for _, p := range w.processes() {
		written := p.Output()
		secrets := []string{w.setup.telnyx.APIKey}
		for _, bearer := range w.bearers {
			secrets = append(secrets, bearer)
		}
		for _, secret := range secrets {
			if strings.Contains(written, secret) {
				t.Errorf("a secret that begins with %.6q is in the log", secret)
			}
		}
		for _, bad := range []string{"panic", "fatal error", "goroutine ", `"outcome":"internal"`} {
			if at := strings.Index(written, bad); at >= 0 {
				t.Errorf("the log has %q in it: %.2000s", bad, written[max(0, at-500):])
			}
		}
	}
}
