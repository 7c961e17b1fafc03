package tokensvc_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tokensvc/tokensvc/"

// mayImport says which of our packages a package may import. Arrows that are not
// here are how a small service becomes a knot.
var mayImport = map[string][]string{
	"internal/secret":                 {},
	"internal/crash":                  {},
	"internal/audit":                  {},
	"internal/authz":                  {"internal/crash", "internal/secret"},
	"internal/authz/oidctest":         {},
	"internal/telnyx":                 {"internal/secret"},
	"internal/telnyx/telnyxtest":      {},
	"internal/directory":              {"internal/telnyx"},
	"internal/directory/roster":       {"internal/directory", "internal/directory/store", "internal/telnyx"},
	"internal/directory/store":        {"internal/directory", "internal/secret", "internal/telnyx"},
	"internal/directory/store/pgtest": {"internal/testserver"},
	"internal/journal":                {},
	"internal/pacing":                 {"internal/telnyx"},
	"internal/provisioning":           {"internal/crash", "internal/directory", "internal/directory/store", "internal/telnyx"},
	"internal/shared":                 {"internal/crash", "internal/secret", "internal/telnyx"},
	"internal/shared/redistest":       {"internal/testserver"},
	"internal/testserver":             {},
	"internal/handler":                {"internal/audit", "internal/authz", "internal/crash", "internal/directory", "internal/directory/roster", "internal/directory/store", "internal/secret", "internal/telnyx", "internal/tracing", "internal/vending"},
	"internal/tracing":                {},
	"internal/vending":                {"internal/crash", "internal/telnyx"},
	"internal/handler/contracttest":   {"."},
	"bench/bare":                      {},
	"bench/lab":                       {},
	"bench/load":                      {},
	"bench/plot":                      {},
	"bench/upstream":                  {"internal/authz/oidctest", "internal/telnyx/telnyxtest"},
	"bench/flood":                     {"bench/lab", "bench/load"},
	"bench/memory":                    {"bench/lab", "bench/load"},
	"bench/scale":                     {"bench/lab", "bench/load", "internal/directory/store", "internal/directory/store/pgtest"},
	"bench/storm": {
		"bench/lab", "bench/load", "bench/plot", "internal/directory/roster", "internal/directory/store", "internal/directory/store/pgtest",
	},
	"bench/vend": {"bench/lab", "bench/load", "bench/plot"},
	"bench/directory": {
		"internal/authz/oidctest", "internal/directory/roster", "internal/directory/store", "internal/directory/store/pgtest", "internal/telnyx/telnyxtest",
	},
	"bench/dashboard": {"bench/lab"},
	"cmd/tokensvc":    {"*"},
	"deploy":          {},
	"e2e":             {},
	"e2e/process":     {},

	"e2e/manual":        {},
	"e2e/attacks":       {},
	"e2e/audit":         {},
	"e2e/phone":         {},
	"e2e/image":         {},
	"e2e/reliability":   {},
	"e2e/rolling":       {},
	"tools/gotest":      {},
	"tools/mutatecases": {},
	"web":               {},
	".":                 {},
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range list(t) {
		name := ours(p.ImportPath)
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is a new package: say here what it may import", name)
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported+"/", module) || slices.Contains(allowed, "*") {
				continue
			}
			if !slices.Contains(allowed, ours(imported)) {
				t.Errorf("%s imports %s", name, ours(imported))
			}
		}
	}
}

func TestWhatStaysOutOfTheBinary(t *testing.T) {
	unwanted := []string{"testing", "github.com/getkin/kin-openapi/openapi3", "net/http/httptest", "google.golang.org/grpc"}
	out := goList(t, "-deps", "./cmd/tokensvc")
	for _, path := range strings.Fields(string(out)) {
		if slices.Contains(unwanted, path) {
			t.Errorf("the binary has %s in it", path)
		}
	}
}

// The image is built from what .dockerignore lets through, which must be enough,
// and hold no file that is not in the list: a key beside the sources, say.
func TestTheImageCanBeBuiltFromItsContext(t *testing.T) {
	context := t.TempDir()
	copyContext(t, context)
	for _, unwanted := range []string{"layout_test.go", "e2e", "README.md", ".git", "web/test", "web/client/package.json"} {
		if _, err := os.Stat(filepath.Join(context, unwanted)); err == nil {
			t.Errorf("%s is in the context", unwanted)
		}
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`(?s)-ldflags "(.*?)"`).FindSubmatch(dockerfile)
	if flags == nil {
		t.Fatal("the Dockerfile has no -ldflags")
	}
	binary := filepath.Join(t.TempDir(), "tokensvc")
	goBuild(t, context, "-trimpath", "-buildvcs=false", "-ldflags", strings.ReplaceAll(string(flags[1]), "\\\n", " "), "-o", binary, "./cmd/tokensvc")

	// As there, it listens where somebody outside of the container can reach it.
	answer, _ := exec.CommandContext(t.Context(), binary, "healthcheck", "-h").CombinedOutput()
	if !strings.Contains(string(answer), "default :9090") {
		t.Errorf("built with the image's flags, it says %s", answer)
	}
}

// copyContext copies what .dockerignore lets through.
func copyContext(t *testing.T, to string) {
	t.Helper()
	list, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !inContext(string(list), name):
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		copied := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(copied), 0o700); err != nil {
			return err
		}
		return os.WriteFile(copied, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inContext reports whether a .dockerignore lets a file through: the last line
// that matches the file or a folder it is in decides, and one with an exclamation
// mark lets through. Of Docker's patterns it knows those that ours has.
func inContext(list, name string) bool {
	in := true
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, keeps := strings.CutPrefix(line, "!")
		anywhere, deep := strings.CutPrefix(pattern, "**/")
		for part := name; part != "."; part = path.Dir(part) {
			matches, _ := path.Match(strings.TrimPrefix(pattern, "/"), part)
			if deep {
				matches, _ = path.Match(anywhere, path.Base(part))
			}
			if matches {
				in = keeps
				break
			}
		}
	}
	return in
}

// What is linked is what is used, as long as nothing looks methods up by their
// names at run time: then the linker keeps every exported method there is, and
// the binary grows by half. text/template does, for one.
func TestTheBinaryIsSmall(t *testing.T) {
	const most = 26 << 20 // bytes; it has about 25.5 MiB, of which tracing takes one (docs/adr/0016-tracing.md)
	binary := filepath.Join(t.TempDir(), "tokensvc")
	dump := goBuild(t, ".", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -dumpdep", "-o", binary, "./cmd/tokensvc")
	for line := range strings.Lines(dump) {
		if strings.Contains(line, "ReflectMethod") {
			t.Errorf("methods are looked up by name: %s", line)
		}
	}
	if !strings.Contains(dump, " -> ") {
		t.Error("the linker has not said what it links, so this proves little")
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("the binary has %d bytes, want at most %d", info.Size(), most)
	}
}

// goBuild builds in a folder without cgo, as it is shipped, and returns what the
// tools say.
func goBuild(t *testing.T, folder string, args ...string) string {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...)
	build.Dir, build.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return string(out)
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	decoder := json.NewDecoder(bytes.NewReader(goList(t, "-json=ImportPath,Imports", "./...")))
	for decoder.More() {
		var p pkg
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return out
}

func ours(path string) string {
	if path+"/" == module {
		return "."
	}
	return strings.TrimPrefix(path, module)
}
