package image_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// deploy is where the composition lies; paths in it are seen from there.
var deploy = filepath.Join(root, "deploy")

// A composition is a compose file with those of its words that ours has: any other is
// a misspelling, or new, and then it is to be thought of here.
type composition struct {
	Name     string                    `yaml:"name"`
	Confined any                       `yaml:"x-confined"`
	Tokensvc any                       `yaml:"x-tokensvc"`
	Services map[string]composed       `yaml:"services"`
	Networks map[string]network        `yaml:"networks"`
	Volumes  map[string]struct{}       `yaml:"volumes"`
	Secrets  map[string]composedSecret `yaml:"secrets"`
}

type (
	network struct {
		Internal bool `yaml:"internal"`
	}
	composedSecret struct {
		File string `yaml:"file"`
	}
)

type composed struct {
	Image string `yaml:"image"`
	Build struct {
		Context string            `yaml:"context"`
		Args    map[string]string `yaml:"args"`
	} `yaml:"build"`
	User        string            `yaml:"user"`
	Entrypoint  []string          `yaml:"entrypoint"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Secrets     []string          `yaml:"secrets"`
	Volumes     []string          `yaml:"volumes"`
	Tmpfs       []string          `yaml:"tmpfs"`
	Networks    []string          `yaml:"networks"`
	Ports       []string          `yaml:"ports"`
	DependsOn   yaml.Node         `yaml:"depends_on"`
	Healthcheck struct {
		Disable     bool     `yaml:"disable"`
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		StartPeriod string   `yaml:"start_period"`
		Retries     int      `yaml:"retries"`
	} `yaml:"healthcheck"`

	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`

	Restart         string                    `yaml:"restart"`
	StopGracePeriod string                    `yaml:"stop_grace_period"`
	PidsLimit       int                       `yaml:"pids_limit"`
	MemLimit        string                    `yaml:"mem_limit"`
	ShmSize         string                    `yaml:"shm_size"`
	Ulimits         map[string]map[string]int `yaml:"ulimits"`
	Logging         struct {
		Driver  string            `yaml:"driver"`
		Options map[string]string `yaml:"options"`
	} `yaml:"logging"`
}

// isOurs reports whether a service has its program from the repository.
func (c composed) isOurs() bool { return c.Build.Context != "" }

func readComposition(t *testing.T) composition {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(deploy, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	var c composition
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	want := []string{"grafana", "migrate", "postgres", "prometheus", "redis", "tokensvc"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(c.Services))); diff != "" {
		t.Fatalf("the services differ (-want +got):\n%s", diff)
	}
	return c
}

var (
	pinned   = regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$`)
	loopback = regexp.MustCompile(`^127\.0\.0\.1:[^:]+(:-\d+\})?:\d+$`)
	onlyTmp  = regexp.MustCompile(`^/[a-z/]+:noexec,nosuid,nodev`)
)

// Whoever breaks into one of them has no privilege, nowhere to keep a program, and no
// way out but those that the service needs.
func TestTheCompositionIsConfined(t *testing.T) {
	c := readComposition(t)
	for name, s := range c.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s has more privileges than none", name)
		}
		if s.PidsLimit == 0 || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
			t.Errorf("%s may have any number of processes, or logs of any size", name)
		}
		if s.MemLimit == "" && name != "migrate" {
			t.Errorf("%s may have all memory", name)
		}
		if !s.isOurs() && (!pinned.MatchString(s.Image) || s.User == "" || s.User == "root") {
			t.Errorf("%s is %s as %q, want one version, and not as root", name, s.Image, s.User)
		}
		if (len(s.Healthcheck.Test) < 2) == (name != "migrate") {
			t.Errorf("nobody can see whether %s is well", name)
		}
		for _, port := range s.Ports {
			if !loopback.MatchString(port) {
				t.Errorf("%s can be reached from anywhere at %s", name, port)
			}
		}
		for _, folder := range s.Tmpfs {
			if !onlyTmp.MatchString(folder) {
				t.Errorf("programs can be kept and started in %s of %s", folder, name)
			}
		}
		isPublic := len(s.Ports) > 0
		for _, n := range s.Networks {
			if !isPublic && !c.Networks[n].Internal {
				t.Errorf("%s can reach others than it must, by the network %s", name, n)
			}
		}
	}
	for name, want := range map[string]bool{"tokensvc": true, "grafana": true, "migrate": false, "postgres": false, "redis": false, "prometheus": false} {
		if got := len(c.Services[name].Ports) > 0; got != want {
			t.Errorf("%s can be reached from outside: %v, want %v", name, got, want)
		}
	}
}

var secretName = regexp.MustCompile(`(?i)password|secret|token$|key`)

// Everything that is mounted is there: files of the repository, and secrets, which
// are in no variable, where a list of processes or `docker inspect` would have them.
func TestWhatTheCompositionMounts(t *testing.T) {
	c := readComposition(t)
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, isVolume := c.Volumes[source]; isVolume {
				continue
			}
			if _, err := os.Stat(filepath.Join(deploy, source)); err != nil || !strings.HasPrefix(source, "./") || !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s mounts %s: %v", name, v, err)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret]; !ok {
				t.Errorf("%s mounts a secret that there is not: %s", name, secret)
			}
		}
		for variable, value := range s.Environment {
			mounted, isSecret := strings.CutPrefix(value, "/run/secrets/")
			if secretName.MatchString(variable) && (!isSecret || !strings.HasSuffix(variable, "_FILE")) || isSecret && !slices.Contains(s.Secrets, mounted) {
				t.Errorf("%s has the variable %s=%s", name, variable, value)
			}
		}
		for _, n := range s.Networks {
			if _, ok := c.Networks[n]; !ok {
				t.Errorf("%s is in a network that there is not: %s", name, n)
			}
		}
	}
	made := makeSecrets(t)
	for name, s := range c.Secrets {
		if s.File != "./secrets/"+name {
			t.Errorf("the secret %s is in %s", name, s.File)
		}
		if info, err := os.Stat(filepath.Join(made, name)); err != nil || info.Mode().Perm() != 0o444 || info.Size() < 16 {
			t.Errorf("make-secrets does not make %s as it must be: %v", name, err)
		}
	}
}

// makeSecrets runs deploy/make-secrets.
func makeSecrets(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "secrets")
	script := `echo "$3" | "$1" "$2" && echo "another" | "$1" "$2"` // what is there stays
	if _, err := tell("", "bash", "-c", script, "-", filepath.Join(deploy, "make-secrets"), folder, apiKey); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("anybody may enter the folder of the secrets: %v", err)
	}
	if key, err := os.ReadFile(filepath.Join(folder, "telnyx_api_key")); err != nil || string(key) != apiKey+"\n" {
		t.Errorf("the API key was not kept: %v", err)
	}
	return folder
}

// A secret that could not be made is none: an empty password would be kept, and opens
// the Redis to whoever reaches it.
func TestMakeSecretsKeepsNothingEmpty(t *testing.T) {
	bin, folder := t.TempDir(), filepath.Join(t.TempDir(), "secrets")
	writeFile(t, filepath.Join(bin, "base64"), "#!/bin/sh\nexit 1\n", 0o755)
	const script = `echo "$4" | PATH="$1:$PATH" "$2" "$3"`
	_, err := tell("", "bash", "-c", script, "-", bin, filepath.Join(deploy, "make-secrets"), folder, apiKey)
	if err == nil {
		t.Error("nothing is said")
	}
	if made, err := filepath.Glob(filepath.Join(folder, "[^.]*")); err != nil || len(made) > 0 {
		t.Errorf("kept: %v %v", made, err)
	}
}

var variable = regexp.MustCompile(`\$\$|\$\{(\w+)(:-|:\?)([^}]*)\}`)

// interpolate does what compose does with variables, of which the operator gave these.
func interpolate(t *testing.T, text string, given map[string]string) string {
	t.Helper()
	return variable.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		parts := variable.FindStringSubmatch(match)
		value := given[parts[1]]
		if value == "" && parts[2] == ":?" {
			t.Errorf("the operator is to give %s", parts[1])
		}
		if value == "" && parts[2] == ":-" {
			value = parts[3]
		}
		return value
	})
}
