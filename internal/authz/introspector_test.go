package authz

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// roundTrip is an issuer without a network, for time that synctest moves.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}, nil
}

const activeAnswer = `{"active":true,"aud":"softphone","sub":"alice"}`

func newAsked(t testing.TB, issuer http.RoundTripper) *trusted {
	t.Helper()
	v, err := New(Config{Transport: issuer, Issuers: []Issuer{{
		Name: "main", URL: "https://login.example.com", Audiences: []string{"softphone"},
		Introspection: &Introspection{
			ClientID:     "id",
			ClientSecret: func() secret.Text { return secret.New("secret") },
			Endpoint:     "https://login.example.com/introspect",
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	v.verified.StopAllGoroutines()
	v.asked[Source{}].introspector.known.StopAllGoroutines()
	return v.asked[Source{}]
}

// asks asks about a token that nobody has asked about before.
func (s *introspector) asks(t *testing.T) error {
	t.Helper()
	_, err := s.introspect(t.Context(), rand.Text())
	if err != nil && !errors.Is(err, ErrIssuerUnavailable) {
		t.Errorf("an error of another kind: %v", err)
	}
	return err
}

func TestTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status, asked := http.StatusInternalServerError, 0
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			return answer(status, activeAnswer)
		})).introspector
		expect := func(moment string, questions int, ok bool) {
			t.Helper()
			before := asked
			if err := s.asks(t); (err == nil) != ok {
				t.Errorf("%s: %v", moment, err)
			}
			if n := asked - before; n != questions {
				t.Errorf("%s: %d questions, want %d", moment, n, questions)
			}
		}
		for range breakerFailures - 1 {
			expect("it fails", 1, false)
		}
		status = http.StatusOK
		expect("it answers once in between", 1, true)
		status = http.StatusInternalServerError
		for range breakerFailures {
			expect("it fails", 1, false)
		}
		status = http.StatusOK
		expect("it is left alone", 0, false)
		<-time.After(breakerPause - time.Millisecond)
		expect("still", 0, false)
		<-time.After(2 * time.Millisecond)
		status = http.StatusInternalServerError
		expect("it is tried, and fails", 1, false)
		expect("it is left alone again", 0, false)
		<-time.After(breakerPause + time.Millisecond)
		status = http.StatusOK
		expect("it is tried, and answers", 1, true)
		expect("all is well", 1, true)
	})
}

// What callers can bring about must not open the breaker for everybody.
func TestWhatDoesNotOpenTheBreaker(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		opens  bool
	}{
		"400 about a token's form":  {http.StatusBadRequest, "", false},
		"tokens that are not known": {http.StatusOK, `{"active":false}`, false},
		"tokens of somebody else":   {http.StatusOK, `{"active":true,"iss":"x"}`, false},
		"claims of odd types":       {http.StatusOK, `{"active":true,"aud":["softphone",7],"nbf":"now"}`, false},
		"a person in every group":   {http.StatusOK, `{"active":true,"groups":"` + strings.Repeat("x", maxAnswerBytes) + `"}`, false},
		"tokens of a kind unknown":  {http.StatusBadRequest, `{"error":"unsupported_token_type"}`, false},
		"401":                       {http.StatusUnauthorized, "", true},
		"429":                       {http.StatusTooManyRequests, "", true},
		"502":                       {http.StatusBadGateway, "", true},
		"HTML":                      {http.StatusOK, "<html>", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
				asked++
				return answer(row.status, row.body)
			})).introspector
			for i := range 2 * breakerFailures {
				_, _ = s.introspect(t.Context(), fmt.Sprint("token-", i))
			}
			if opened := asked == breakerFailures; opened != row.opens {
				t.Errorf("%s: asked %d times, opens: %v, want %v", name, asked, opened, row.opens)
			}
		})
	}
}

// The room for tokens that were good before is for those alone: not for one that has
// ended since, but still for one of which the issuer says nothing.
func TestWhoseTurnIsKept(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		kept   bool
	}{
		"active still":    {http.StatusOK, activeAnswer, true},
		"no answer":       {http.StatusBadGateway, "", true},
		"ended":           {http.StatusOK, `{"active":false}`, false},
		"somebody else's": {http.StatusOK, `{"active":true,"iss":"x"}`, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			status, body := http.StatusOK, activeAnswer
			s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) { return answer(status, body) })).introspector
			if _, err := s.introspect(t.Context(), "token"); err != nil {
				t.Fatal(err)
			}
			status, body = row.status, row.body
			_, _ = s.introspect(t.Context(), "token")
			if kept := s.queueOf(digestOf("token")) == &s.ofKnown; kept != row.kept {
				t.Errorf("%s: kept is %v", name, kept)
			}
		})
	}
}

func TestHowLongAnAnswerMayBe(t *testing.T) {
	for _, more := range []int{-1, 0, 1} {
		body := strings.TrimSuffix(activeAnswer, "}") + `,"name":"`
		body += strings.Repeat("x", maxAnswerBytes+more-len(body)-len(`"}`)) + `"}`
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, body) })).introspector
		if _, err := s.introspect(t.Context(), "token"); (err == nil) != (more <= 0) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
}

func TestATokenOfAKindThatTheIssuerDoesNotKnowIsNotActive(t *testing.T) {
	for body, want := range map[string]bool{
		`{"error":"unsupported_token_type","error_description":"structured JWT Tokens cannot be introspected"}`: true,
		`{"error":"invalid_request"}`: false,
		`unsupported_token_type`:      false,
		``:                            false,
	} {
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
			return answer(http.StatusBadRequest, body)
		})).introspector
		_, err := s.introspect(t.Context(), "token")
		no := (*InvalidError)(nil)
		if got := errors.As(err, &no) && no.Reason == ReasonInactive; got != want || !got && !errors.Is(err, ErrIssuerUnavailable) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestAnAnswerIsWaitedForNoLongerThanPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAsked(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})).introspector
		since := time.Now()
		if err := s.asks(t); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(since); took != questionTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

func TestOneQuestionForAllWhoAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answered := 0, make(chan struct{})
		s := newAsked(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			select {
			case <-answered:
				return answer(http.StatusOK, activeAnswer)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})).introspector
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := s.introspect(leaving, "token")
			left <- err
		}()
		synctest.Wait()
		stayed := make(chan error, 63)
		for range cap(stayed) {
			go func() {
				_, err := s.introspect(t.Context(), "token")
				stayed <- err
			}()
		}
		synctest.Wait() // all of them wait now
		leave()         // the first, whose question it is
		if err := <-left; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrIssuerUnavailable) {
			t.Errorf("the one who left: %v", err)
		}
		synctest.Wait()
		close(answered)
		for range cap(stayed) {
			if err := <-stayed; err != nil {
				t.Errorf("one of those who stayed: %v", err)
			}
		}
		if asked != 1 {
			t.Errorf("%d questions, want 1", asked)
		}
	})
}

func TestQuestionsBeyondTheBoundWaitAndGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inFlight, most atomic.Int32
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), inFlight.Add(1)))
			<-time.After(3 * time.Second)
			inFlight.Add(-1)
			return answer(http.StatusOK, activeAnswer)
		})).introspector
		const places = MaxQuestions - knownPlaces
		since, failures := time.Now(), make(chan error, defaultWaiting)
		for i := range defaultWaiting {
			go func() {
				_, err := s.introspect(t.Context(), fmt.Sprint("token-", i))
				if err != nil {
					failures <- err
				}
			}()
		}
		for range defaultWaiting - places {
			if err := <-failures; !errors.Is(err, ErrIssuerUnavailable) {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(since); took != placeTimeout {
			t.Errorf("they gave up after %v", took)
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		if len(failures) > 0 || most.Load() != places {
			t.Errorf("%d more failed, and %d were in flight at once", len(failures), most.Load())
		}
		if err := s.asks(t); err != nil {
			t.Errorf("and afterwards: %v", err)
		}
	})
}

// Whoever invents tokens, and leaves without an answer, takes no place of those
// whose tokens were good before, and leaves no queue behind.
func TestInventedTokensDoNotShutOutWhoeverHasSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := false
		var inFlight atomic.Int32
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
			inFlight.Add(1)
			defer inFlight.Add(-1)
			if slow {
				<-time.After(4 * time.Second)
			}
			return answer(http.StatusOK, activeAnswer)
		})).introspector
		if _, err := s.introspect(t.Context(), "alice's"); err != nil {
			t.Fatal(err)
		}
		slow = true
		gone, leave := context.WithCancel(t.Context())
		for i := range 10 * defaultWaiting {
			go func() { _, _ = s.introspect(gone, fmt.Sprint("invented-", i)) }()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if n := s.ofOthers.questions.in.Load(); n > defaultWaiting {
			t.Errorf("%d questions are under way or wait, want %d at most", n, defaultWaiting)
		}
		if _, err := s.introspect(t.Context(), "alice's"); err != nil {
			t.Errorf("alice: %v", err)
		}
		if n := inFlight.Load(); n > MaxQuestions {
			t.Errorf("%d questions at once, want %d at most", n, MaxQuestions)
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		if n := s.ofOthers.questions.in.Load() + s.ofOthers.callers.in.Load(); n != 0 {
			t.Errorf("%d are left behind", n)
		}
	})
}

// An issuer that is back is there for whoever has signed in, though strangers send
// it what it finds fault with.
func TestStrangersDoNotKeepTheBreakerFromClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusOK
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
			return answer(status, activeAnswer)
		})).introspector
		if err := s.asks(t); err != nil {
			t.Fatal(err)
		}
		status = http.StatusInternalServerError
		for range breakerFailures {
			_ = s.asks(t)
		}
		<-time.After(breakerPause + time.Second)
		status = http.StatusBadRequest
		_ = s.asks(t) // a stranger is first when it is half open
		status = http.StatusOK
		if err := s.asks(t); err != nil {
			t.Errorf("whoever comes next: %v", err)
		}
	})
}

func TestOnePersonDoesNotTakeEverybodysRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := false
		s := newAsked(t, roundTrip(func(*http.Request) (*http.Response, error) {
			if slow {
				<-time.After(time.Second)
			}
			return answer(http.StatusOK, activeAnswer)
		})).introspector
		for _, token := range []string{"mallory's", "bob's"} {
			if _, err := s.introspect(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		slow = true
		refused := make(chan error, 10*defaultWaiting)
		for range 10 * defaultWaiting {
			go func() {
				if _, err := s.introspect(t.Context(), "mallory's"); err != nil {
					refused <- err
				}
			}()
		}
		synctest.Wait()
		if n := len(refused); n != 10*defaultWaiting-maxCallersPerToken {
			t.Errorf("%d refused, want all but %d", n, maxCallersPerToken)
		}
		if _, err := s.introspect(t.Context(), "bob's"); err != nil {
			t.Errorf("bob: %v", err)
		}
		synctest.Wait()
		if len(s.waiting.callers) != 0 {
			t.Errorf("%d tokens are still waited for", len(s.waiting.callers))
		}
	})
}

func TestACrowdIsAsManyAsItMayBe(t *testing.T) {
	c := crowd{limit: 2}
	for n, want := range []bool{true, true, false, false} {
		if got := c.enter(); got != want {
			t.Errorf("number %d is let in: %v", n+1, got)
		}
	}
	c.leave()
	if !c.enter() {
		t.Error("nobody may come for the one who has left")
	}
}

// FuzzIntrospection holds any answer to what an answer may bring about.
func FuzzIntrospection(f *testing.F) {
	f.Add([]byte(activeAnswer))
	f.Add([]byte(`{"active":true,"iss":"https://login.example.com","aud":["softphone"],"sub":"alice","exp":1900000000,"token_type":"Bearer"}`))
	f.Add([]byte(`{"active":"true","aud":"softphone","sub":"alice"}`))
	f.Add([]byte(`{"active":false,"active":true,"aud":"softphone","sub":"alice"}`))
	f.Add([]byte(`{"Active":true,"ACTIVE":true,"aud":"softphone","sub":"alice"}`))
	f.Add([]byte(`{"active":true,"aud":"softphone","sub":"alice","exp":1e300,"nbf":-1,"iat":null}`))
	f.Add([]byte(`{"active":true,"aud":[null],"iss":null,"sub":"a\u0000b"}`))
	asked := newAsked(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := asked.introspector.read(body)
		if err != nil {
			if text := err.Error(); len(text) > 50 {
				t.Fatalf("the error is not in our words: %q", text)
			}
			return
		}
		if asked.judge(b, time.Now()) != nil {
			return
		}
		if who, err := asked.principal(b); err == nil {
			mustBeAccepted(t, asked.Issuer, who)
		}
	})
}

// mustBeAccepted says again, in other words, what an answer must be like.
func mustBeAccepted(t *testing.T, issuer Issuer, who *Principal) {
	t.Helper()
	audience := who.Claims["aud"] == any("softphone")
	if list, ok := who.Claims["aud"].([]any); ok {
		for _, a := range list {
			audience = audience || a == any("softphone")
		}
	}
	iss, named := who.Claims["iss"]
	switch {
	case who.Claims["active"] != any(true):
		t.Fatalf("active is %v", who.Claims["active"])
	case !audience:
		t.Fatalf("the audience is %v", who.Claims["aud"])
	case named && iss != any(issuer.URL):
		t.Fatalf("the issuer is %v", iss)
	case !who.ExpiresAt.IsZero() && time.Now().After(who.ExpiresAt.Add(issuer.ClockSkew)):
		t.Fatalf("it has expired at %v", who.ExpiresAt)
	case who.Claims["sub"] != any(strings.TrimPrefix(who.User, "main:")) || strings.ContainsAny(who.User, "\r\n\x00"):
		t.Fatalf("sub %v is user %q", who.Claims["sub"], who.User)
	}
}
