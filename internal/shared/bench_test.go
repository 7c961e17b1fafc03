package shared_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func benchmark(b *testing.B) (*shared.Redis, *redistest.Server) {
	b.Helper()
	s := redistest.StartT(b)
	r, err := shared.Open(shared.Config{URL: s.URL(), Keys: keys(oldKey), Realm: realm, Timeout: patient})
	if err != nil {
		b.Fatal(err)
	}
	go r.Run(b.Context())
	for !r.Up() {
		<-time.After(time.Millisecond)
	}
	return r, s
}

func credential(n int) telnyx.CredentialID {
	id, _ := telnyx.ParseCredentialID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
	return id
}

// telnyxSized is a token of the size of Telnyx's.
func telnyxSized() telnyx.LoginToken {
	exp := time.Now().Add(24 * time.Hour).Unix()
	head := "eyJhbGciOiJIUzUxMiJ9." + b64(fmt.Sprintf(`{"exp":%d}`, exp)) + "."
	token, err := telnyx.ParseLoginToken(head + strings.Repeat("A", 588-len(head)))
	if err != nil {
		panic(err)
	}
	return token
}

func BenchmarkOperations(b *testing.B) {
	r, _ := benchmark(b)
	id, token, ctx := credential(0), telnyxSized(), b.Context()
	r.Put(ctx, id, token, time.Now())
	calls := r.Calls("telnyx")
	for name, do := range map[string]func(){
		"take":  func() { r.Take(ctx, id) },
		"put":   func() { r.Put(ctx, id, token, time.Now()) },
		"claim": func() { release, _ := r.Claim(ctx, id); release() },
		"allow": func() { r.Allow(ctx, "user", "alice", 60, 10) },
		"calls": func() { calls.Take(ctx, 1000, time.Second) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				do()
			}
		})
		b.Run(name+" by 64", func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					do()
				}
			})
		})
	}
}

// BenchmarkAway is what Redis costs that is not there.
func BenchmarkAway(b *testing.B) {
	r, err := shared.Open(shared.Config{URL: "redis://127.0.0.1:1", Keys: keys(oldKey), Realm: realm})
	if err != nil {
		b.Fatal(err)
	}
	id, ctx := credential(0), b.Context()
	for b.Loop() {
		r.Take(ctx, id)
	}
}

// BenchmarkMemory says how much memory Redis takes for each token.
func BenchmarkMemory(b *testing.B) {
	const tokens = 100_000
	r, s := benchmark(b)
	token := telnyxSized()
	used := func() (n int) {
		info, err := s.Ask("INFO", "memory")
		if err != nil {
			b.Fatal(err)
		}
		text, _ := info.(string)
		_, after, _ := strings.Cut(text, "used_memory:")
		fmt.Sscan(after, &n)
		return n
	}
	for b.Loop() {
		before := used()
		for i := range tokens {
			r.Put(b.Context(), credential(i), token, time.Now())
		}
		b.ReportMetric(float64(used()-before)/tokens, "B/token")
	}
}
