package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/tokensvc/tokensvc/internal/handler"
)

// promtool is Prometheus's own check of files, and its test of rules.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: make need")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = "prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusTakesItsFiles(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yaml")
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	for _, file := range []string{"tests.yaml", "tests-days.yaml"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			promtool(t, "test", "rules", file)
		})
	}
}

// A rule is one of rules.yaml or alerts.yaml.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

// load reads a file of ours, and takes no word that the type has not.
func load(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// rules are those of a file.
func rules(t *testing.T, path string) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	load(t, path, &file)
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", path)
	}
	return all
}

// alertNames are those of all alerts, each once.
func alertNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, r := range rules(t, "prometheus/alerts.yaml") {
		names = append(names, r.Alert)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestEveryAlertSaysWhatItIs(t *testing.T) {
	for _, r := range rules(t, "prometheus/alerts.yaml") {
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has severity %q", r.Alert, s)
		}
		if r.Labels["service"] != "tokensvc" {
			t.Errorf("%s does not say whose it is", r.Alert)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what happens", r.Alert)
		}
		const runbook = "https://github.com/tokensvc/tokensvc/blob/main/docs/runbook.md#"
		if got, want := r.Annotations["runbook_url"], runbook+anchor(r.Alert); got != want {
			t.Errorf("%s leads to %s, want %s", r.Alert, got, want)
		}
	}
}

// A scenario of the tests that promtool runs.
type scenario struct {
	Name     string
	Interval string
	Series   []struct{ Series, Values string } `yaml:"input_series"`
	Checks   []struct {
		Expr    string
		At      string                           `yaml:"eval_time"`
		Samples []struct{ Labels, Value string } `yaml:"exp_samples"`
	} `yaml:"promql_expr_test"`
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	var all []scenario
	for _, path := range []string{"prometheus/tests.yaml", "prometheus/tests-days.yaml"} {
		var file struct {
			RuleFiles []string `yaml:"rule_files"`
			Every     string   `yaml:"evaluation_interval"`
			Tests     []scenario
		}
		load(t, path, &file)
		all = append(all, file.Tests...)
	}
	return all
}

// Every alert, in each of its severities, fires in a scenario, and in one with the
// same metrics it does not.
func TestEveryAlertIsSeenToFireAndNotTo(t *testing.T) {
	fired := regexp.MustCompile(`alertname="(\w+)", severity="(\w+)"`)
	fires, silent := map[string]bool{}, map[string]bool{}
	alerts, recorded := rules(t, "prometheus/alerts.yaml"), rules(t, "prometheus/rules.yaml")
	for _, s := range scenarios(t) {
		for _, c := range s.Checks {
			if !strings.Contains(c.Expr, "ALERTS") {
				continue
			}
			now := map[string]bool{}
			for _, sample := range c.Samples {
				if m := fired.FindStringSubmatch(sample.Labels); m != nil {
					now[m[1]+" "+m[2]] = true
				}
			}
			for _, r := range alerts {
				name := r.Alert + " " + r.Labels["severity"]
				fires[name] = fires[name] || now[name]
				silent[name] = silent[name] || !now[name] && s.has(t, r, recorded)
			}
		}
	}
	for name := range fires {
		if !fires[name] || !silent[name] {
			t.Errorf("%s: seen to fire %t, seen not to fire %t", name, fires[name], silent[name])
		}
	}
}

// has reports whether a scenario has a metric that an alert looks at, be it by what
// is recorded.
func (s scenario) has(t *testing.T, r rule, recorded []rule) bool {
	t.Helper()
	for _, name := range metricsOf(t, r.Expr) {
		for _, rec := range recorded {
			if rec.Record == name && s.has(t, rec, recorded) {
				return true
			}
		}
		for _, series := range s.Series {
			if strings.HasPrefix(series.Series, name+"{") {
				return true
			}
		}
	}
	return false
}

// What counts as a failed login is a decision about each outcome there is.
func TestEveryOutcomeCountsOrDoesNot(t *testing.T) {
	outcome := regexp.MustCompile(`outcome=~"([a-z_|]+)"`)
	counted := map[handler.Outcome]bool{}
	for _, r := range rules(t, "prometheus/rules.yaml") {
		if r.Record != "job:tokensvc_logins:rate5m" {
			continue
		}
		for _, o := range strings.Split(outcome.FindStringSubmatch(r.Expr)[1], "|") {
			counted[handler.Outcome(o)] = true
		}
	}
	var got, want []string
	for o := range counted {
		got = append(got, string(o))
	}
	for _, o := range outcomeRows(t) {
		if o.counts {
			want = append(want, o.name)
		}
	}
	want = append(want, string(handler.Issued))
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts by docs/runbook.md (-), by rules.yaml (+):\n%s", diff)
	}
}
