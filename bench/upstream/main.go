// Command upstream is what the benchmarks' servers call: a Telnyx and an OpenID
// Connect issuer, on loopback, in a process of their own, so that what a server
// costs is not mixed with what these cost. It says where they are on its standard
// output, in one line of JSON, and ends when its standard input does.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	audience   = "softphone"
	bearerLife = 12 * time.Hour // longer than any benchmark
	keyBits    = 2048
)

func main() {
	var o telnyxtest.Options
	flag.DurationVar(&o.Latency, "latency", 0, "how long Telnyx takes for an answer")
	flag.IntVar(&o.RateLimit, "limit", 0, "`requests` that Telnyx serves in a second; 0 is all")
	users := flag.Int("users", 1, "how `many` users have a credential")
	algorithm := flag.String("algorithm", string(jose.RS256), "with which bearers are signed, RS256 or ES256")
	flag.Parse()
	if err := run(o, *users, jose.SignatureAlgorithm(*algorithm)); err != nil {
		fmt.Fprintln(os.Stderr, "bench/upstream:", err)
		os.Exit(1)
	}
}

func run(o telnyxtest.Options, users int, algorithm jose.SignatureAlgorithm) error {
	o.NewCredentialDelay = -1 // what is created can be used at once: to wait is no measure
	o.Unexpected = func(what string) { fmt.Fprintln(os.Stderr, "bench/upstream: unexpected:", what) }
	telnyx, err := telnyxtest.Start(o)
	if err != nil {
		return err
	}
	defer telnyx.Close()
	issuer, err := oidctest.Start(oidctest.Options{Audience: audience, Life: bearerLife})
	if err != nil {
		return err
	}
	defer issuer.Close()
	if err := sign(issuer, algorithm); err != nil {
		return err
	}
	for n := range users {
		telnyx.AddCredential(telnyxtest.Credential{ID: credentialOf(n), Name: nameOf(n)})
	}
	control, err := serveControl(&control{telnyx, issuer, users})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{
		"telnyx": telnyx.URL(), "api_key": telnyxtest.DefaultAPIKey,
		"issuer": issuer.URL(), "audience": audience, "control": control,
	}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// sign makes the issuer sign with a key of that algorithm.
func sign(issuer *oidctest.Issuer, algorithm jose.SignatureAlgorithm) error {
	switch algorithm {
	case jose.ES256: // as it does
		return nil
	case jose.RS256:
		key, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			return err
		}
		issuer.Publish(oidctest.Key{ID: "key-rsa", Algorithm: algorithm, Private: key})
		return nil
	}
	return errors.New("the algorithm must be RS256 or ES256")
}
