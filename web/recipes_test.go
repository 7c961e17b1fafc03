package web_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// recipe is one piece of code in a guide: a fence of a language that is compiled,
// and a first line that says the file's name.
var recipe = regexp.MustCompile("(?ms)^```(js|ts|tsx)\n(// ([A-Za-z.]+)\n)?(.*?)^```$")

// compiler is how a reader with strict settings would compile a recipe. What is
// checked is the recipe against the types that are published, so libraries'
// own declarations are not.
const compiler = `{
  "compilerOptions": {
    "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "lib": ["es2023", "dom", "dom.iterable"], "types": [],
    "strict": true, "exactOptionalPropertyTypes": false, "noUncheckedIndexedAccess": true,
    "allowJs": true, "checkJs": true, "noEmit": true, "skipLibCheck": true, "jsx": "react-jsx",
    "paths": {"@tokensvc/client": [%q]}
  },
  "include": ["recipes"]
}`

// yours is what a recipe leaves to the reader.
const yours = `
declare const sessionToken: string
declare const accessToken: string
declare function logInAgain(source: import('@tokensvc/client').TokenSource): void
declare function show(state: string, error?: import('@tokensvc/client').TokenError): void
declare module 'https://tokens.example.com/client.js' { export * from '@tokensvc/client' }
`

// What the guides show compiles, against the module and Telnyx's SDK as they are.
func TestRecipesCompile(t *testing.T) {
	project := newProject(t)
	project.write("recipes/yours.d.ts", yours)
	for name, source := range recipes(t) {
		project.write("recipes/"+name, source)
	}
	if out, err := project.compile(); err != nil {
		t.Errorf("a recipe of docs/clients does not compile: %v\n%s", err, out)
	}
}

// A test that compiles nothing would be content with everything.
func TestRecipesThatAreWrongDoNotCompile(t *testing.T) {
	for _, row := range []struct{ name, source, complaint string }{
		{
			"an option that is not there",
			"import {createTokenSource} from '@tokensvc/client'\ncreateTokenSource({url: '', bearer: async () => '', token: ''})\n",
			"'token' does not exist in type 'TokenSourceOptions'",
		},
		{
			"a state that is not there",
			"import type {Registration} from '@tokensvc/client'\nexport const gone = (r: Registration) => r.state === 'online'\n",
			`'RegistrationState' and '"online"' have no overlap`,
		},
		{
			"an SDK without the method",
			"import {TelnyxRTC} from '@telnyx/webrtc'\nnew TelnyxRTC({login_token: 'later'}).refresh()\n",
			"'refresh' does not exist on type 'TelnyxRTC'",
		},
		{
			"a hook without its dependencies",
			"import {useEffect} from 'react'\nuseEffect(() => {}, 'user')\n",
			"not assignable to parameter of type 'readonly unknown[]'",
		},
		{
			"a ref of another type",
			"import {shallowRef} from 'vue'\nshallowRef<number>('one')\n",
			"'string' is not assignable to parameter of type 'number'",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			project := newProject(t)
			project.write("recipes/wrong.ts", row.source)
			out, err := project.compile()
			if err == nil || !strings.Contains(out, row.complaint) {
				t.Errorf("the compiler says (%v):\n%s\nwant: %s", err, out, row.complaint)
			}
		})
	}
}

// recipes are those of every guide, by file name. Names are one space, so that a
// recipe can import another.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	pages, err := filepath.Glob(filepath.FromSlash("../docs/clients/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, page := range append(pages, filepath.FromSlash("../README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range recipe.FindAllStringSubmatch(string(text), -1) {
			name, source := match[3], match[4]
			if name == "" {
				t.Errorf("%s: a recipe does not begin with its name: %q", page, firstLine(source))
				continue
			}
			if _, twice := found[name]; twice {
				t.Errorf("%s: a second recipe is called %s", page, name)
			}
			found[name] = source
		}
	}
	if len(found) < 6 {
		t.Fatalf("the guides have %d recipes: %v", len(found), slices.Sorted(maps.Keys(found)))
	}
	return found
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// A project is a folder with the packages of web/test in reach.
type project struct {
	t   *testing.T
	dir string
}

func newProject(t *testing.T) project {
	t.Helper()
	packages, err := filepath.Abs(filepath.FromSlash("test/node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(packages); err != nil {
		t.Fatalf("the compiler is not there: npm ci --prefix web/test: %v", err)
	}
	module, err := filepath.Abs(filepath.FromSlash("client/client.d.ts"))
	if err != nil {
		t.Fatal(err)
	}
	p := project{t: t, dir: t.TempDir()}
	if err := os.Symlink(packages, filepath.Join(p.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	p.write("tsconfig.json", fmt.Sprintf(compiler, module))
	return p
}

func (p project) write(name, text string) {
	p.t.Helper()
	file := filepath.Join(p.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p project) compile() (string, error) {
	tsc := exec.CommandContext(p.t.Context(), filepath.Join("node_modules", ".bin", "tsc"), "-p", ".")
	tsc.Dir = p.dir
	out, err := tsc.CombinedOutput()
	return string(out), err
}
