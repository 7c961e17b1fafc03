package web_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/web"
)

// largest is how many bytes of the module may cross a network, minified and
// compressed.
const largest = 6 << 10

// The module's own tests are JavaScript. That they have run is looked at too:
// Node is content with files that have none.
func TestModule(t *testing.T) {
	files, err := filepath.Glob(filepath.FromSlash("client/*.test.mjs"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the module's tests are %v: %v", files, err)
	}
	files = append(files, filepath.FromSlash("test/phone.test.mjs"))
	out, err := exec.CommandContext(t.Context(), "node", append([]string{"--test", "--test-reporter=tap"}, files...)...).CombinedOutput()
	ran := regexp.MustCompile(`(?m)^# pass [1-9]\d+$`).Match(out) && bytes.Contains(out, []byte("\n# skipped 0\n")) && bytes.Contains(out, []byte("\n# todo 0\n"))
	if err != nil || !ran {
		t.Errorf("node --test: %v\n%s", err, out)
	}
}

// What the module declares is what it is: tsc makes client.d.ts, in its strictest
// mode, out of the comments of client.js.
func TestModuleDeclaresItself(t *testing.T) {
	made := t.TempDir()
	run(t, "tsc", "-p", "test/client.tsconfig.json", "--outDir", made)
	want := read(t, filepath.Join(made, "client.d.ts"))
	if read(t, "client/client.d.ts") != want {
		t.Error("web/client/client.d.ts is old: (cd web/test && npx tsc -p client.tsconfig.json --outDir ../client)")
	}
}

func TestModuleIsSmall(t *testing.T) {
	minified := run(t, "terser", "client/client.js", "--module", "-c", "passes=2", "-m")
	var compressed bytes.Buffer
	to, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write(minified); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d minified, %d compressed", len(web.Client), len(minified), compressed.Len())
	if compressed.Len() >= largest {
		t.Errorf("the module has %d bytes, want fewer than %d", compressed.Len(), largest)
	}
}

// A token, or a bearer, that is written somewhere is one that somebody finds.
// Comments may speak of such places: the minifier leaves them out.
func TestModuleWritesNothingDown(t *testing.T) {
	code := run(t, "terser", "client/client.js", "--module", "--comments", "false")
	for _, place := range []string{"console", "localStorage", "sessionStorage", "indexedDB", "cookie", "caches", "debugger", "innerHTML", "import(", "import ", "eval"} {
		if bytes.Contains(code, []byte(place)) {
			t.Errorf("the module says %q", place)
		}
	}
	if !bytes.Contains(code, []byte("Authorization")) {
		t.Error("the module is not there, so this proves little")
	}
}

// Who embeds the module by its hash reads the hash in README.
func TestReadmeHasTheModulesHash(t *testing.T) {
	sum := sha512.Sum384(web.Client)
	want := "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
	if !strings.Contains(read(t, "../README.md"), want) {
		t.Errorf("README.md does not have the module's integrity hash, which is %s", want)
	}
}

// consumer is code of somebody who has installed the package.
const consumer = `
import { createTokenSource, keepRegistered, TokenError } from '@tokensvc/client'
import type { PhoneClient, RegistrationEvent, Token, TokenSource } from '@tokensvc/client'

const source: TokenSource = createTokenSource({ url: 'https://phone.example.com', bearer: async ({ rejected }) => (rejected ? 'new' : 'old') })
const token: Token = await source.get({ fresh: true, signal: new AbortController().signal })
export const end: Date = new Date(token.expiresAt)
source.subscribe((event) => {
  if (event.type === 'token') event.timings['mint']?.toFixed()
  if (event.type === 'failed') event.error.outcome.length
})
declare const client: PhoneClient
const registration = keepRegistered(client, source)
registration.subscribe((event: RegistrationEvent) => (event.type === 'login' ? event.reason === 'warning' : event.error instanceof TokenError))
// @ts-expect-error: there is no such state
registration.state === 'online'
// @ts-expect-error: whose token?
createTokenSource({ url: '' })
`

// What npm would publish has what it needs and nothing else, and is found by
// compilers and by programs under its name.
func TestPackage(t *testing.T) {
	dir := t.TempDir()
	installed := filepath.Join(dir, "node_modules", "@tokensvc", "client")
	files := install(t, installed)
	if want := []string{"README.md", "client.d.ts", "client.js", "package.json"}; !slices.Equal(files, want) {
		t.Errorf("the package has %v, want %v", files, want)
	}
	var about map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(installed, "package.json"))), &about); err != nil {
		t.Fatal(err)
	}
	for key := range about {
		if strings.HasSuffix(strings.ToLower(key), "dependencies") || key == "scripts" {
			t.Errorf("the package has %s", key)
		}
	}

	write(t, filepath.Join(dir, "consumer.mts"), consumer)
	run(t, "tsc", "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext",
		"--lib", "es2022,dom", "--types", "", filepath.Join(dir, "consumer.mts"))
	write(t, filepath.Join(dir, "program.mjs"), "import * as all from '@tokensvc/client'; process.stdout.write(Object.keys(all).sort().join(' '))")
	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "program.mjs")).CombinedOutput()
	if want := "TokenError createTokenSource keepRegistered"; err != nil || string(out) != want {
		t.Errorf("a program sees %q (%v), want %q", out, err, want)
	}
}

// install packs the package as npm would publish it, unpacks it in a folder, and
// returns the names of its files.
func install(t *testing.T, folder string) []string {
	t.Helper()
	packing := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "--pack-destination", t.TempDir())
	packing.Dir = "client"
	to := packing.Args[len(packing.Args)-1]
	out, err := packing.CombinedOutput()
	if err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	packed, err := os.Open(filepath.Join(to, strings.TrimSpace(string(out))))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(plain); ; {
		file, err := archive.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(file.Name, "package/")
		names = append(names, name)
		write(t, filepath.Join(folder, filepath.Base(name)), string(content))
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a tool of web/test and returns what it says.
func run(t *testing.T, tool string, args ...string) []byte {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("test", "node_modules", ".bin", tool))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v (npm ci --prefix web/test brings it)\n%s", tool, err, out)
	}
	return out
}
