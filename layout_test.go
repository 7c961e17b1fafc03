package tokensvc_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tokensvc/tokensvc/"

// mayImport says which of our packages a package may import. Arrows that are not
// here are how a small service becomes a knot.
var mayImport = map[string][]string{
	"internal/secret":               {},
	"internal/authz":                {"internal/secret"},
	"internal/authz/oidctest":       {},
	"internal/telnyx":               {"internal/secret"},
	"internal/telnyx/telnyxtest":    {},
	"internal/directory":            {"internal/telnyx"},
	"internal/vending":              {"internal/telnyx"},
	"internal/handler":              {"internal/authz", "internal/directory", "internal/secret", "internal/telnyx", "internal/vending"},
	"internal/handler/contracttest": {"."},
	"cmd/tokensvc":                  {"*"},
	"e2e":                           {},
	"tools/gotest":                  {},
	".":                             {},
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
	unwanted := []string{"testing", "github.com/getkin/kin-openapi/openapi3", "net/http/httptest"}
	out := goList(t, "-deps", "./cmd/tokensvc")
	for _, path := range strings.Fields(string(out)) {
		if slices.Contains(unwanted, path) {
			t.Errorf("the binary has %s in it", path)
		}
	}
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
