package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"go.yaml.in/yaml/v3"
)

// readDashboard reads the dashboard by Grafana's own schema, which knows every word
// that may be in it.
func readDashboard(t *testing.T) dashboard.Dashboard { //nolint:staticcheck // the newer schema is one that older Grafanas cannot read
	t.Helper()
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(bargauge.VariantConfig())
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	content, err := os.ReadFile(filepath.FromSlash("grafana/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard.Dashboard //nolint:staticcheck // as above
	// What it returns is never nil, and empty when all is well.
	if problems, ok := errors.AsType[cog.BuildErrors](d.UnmarshalJSONStrict(content)); !ok || len(problems) > 0 {
		t.Fatalf("Grafana would not take it: %v", problems)
	}
	// Read that way, panels are left out because of the same.
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// panels are those of the dashboard; there are no rows that hide some.
func panels(t *testing.T) []dashboard.Panel {
	t.Helper()
	var all []dashboard.Panel
	for _, p := range readDashboard(t).Panels {
		if p.Panel == nil {
			t.Fatal("there is a row: the dashboard is one page")
		}
		all = append(all, *p.Panel)
	}
	if len(all) == 0 {
		t.Fatal("the dashboard has no panels")
	}
	return all
}

// queries are those of the dashboard, by the titles of their panels.
func queries(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			q, ok := target.(prometheus.Dataquery)
			if !ok {
				pointer, is := target.(*prometheus.Dataquery)
				if !is {
					t.Fatalf("%s asks something else than Prometheus: %T", *p.Title, target)
				}
				q = *pointer
			}
			all[*p.Title] = append(all[*p.Title], q.Expr)
		}
	}
	for _, a := range readDashboard(t).Annotations.List {
		all["annotation "+a.Name] = []string{*a.Expr}
	}
	return all
}

// No panel is over another or beside the page, and each says what it shows.
func TestDashboardIsOnePage(t *testing.T) {
	type cell struct{ x, y uint32 }
	taken := map[cell]string{}
	ids := map[uint32]bool{}
	for _, p := range panels(t) {
		if ids[*p.Id] {
			t.Errorf("%s has another's id", *p.Title)
		}
		ids[*p.Id] = true
		if p.Description == nil || *p.Description == "" {
			t.Errorf("%s does not say what it shows", *p.Title)
		}
		g := p.GridPos
		if g.X+g.W > 24 {
			t.Errorf("%s is wider than the page", *p.Title)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, there := taken[cell{x, y}]; there {
					t.Fatalf("%s is over %s", *p.Title, other)
				}
				taken[cell{x, y}] = *p.Title
			}
		}
	}
}

// Prometheus's parser takes every query, as Grafana sends it.
func TestDashboardsQueriesParse(t *testing.T) {
	var list []map[string]string
	for title, all := range queries(t) {
		for i, q := range all {
			q = strings.NewReplacer("$__rate_interval", "1m", "$job", "tokensvc").Replace(q)
			if strings.Contains(q, "$") {
				t.Errorf("%s asks with a variable that is not known here: %s", title, q)
			}
			list = append(list, map[string]string{"record": fmt.Sprintf("dashboard:%s:%d", strings.Map(letters, title), i), "expr": q})
		}
	}
	content, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": list}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '_'
}

var (
	// Words of a query that are followed by what only a metric is followed by, or are
	// spelled like ours.
	metricName = regexp.MustCompile(`\b(?:job:)?tokensvc_[a-z_]+(?::[a-z0-9]+)?|\bup\b|\bALERTS\b`)
	selector   = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*(?:\{id\}[^}]*)?)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	grouping   = regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
	bareName   = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
)

// metricsOf are the metrics that a query looks at.
func metricsOf(t *testing.T, query string) []string {
	t.Helper()
	found := metricName.FindAllString(query, -1)
	if len(found) == 0 {
		t.Errorf("no metric is seen in %s", query)
	}
	return found
}

// known has every metric there is, with its labels: those of docs/metrics.md, which a
// test of the command holds to what is registered, and what rules.yaml records.
func known(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{
		"up":     {},
		"ALERTS": {"alertname", "alertstate", "severity", "service"},
	}
	row := regexp.MustCompile("(?m)^\\| `(tokensvc_[a-z_]+)` \\| (counter|gauge|histogram) \\| (.*?) \\| ")
	for _, m := range row.FindAllStringSubmatch(readDoc(t, "metrics.md"), -1) {
		labels := bareName.FindAllString(m[3], -1)
		all[m[1]] = labels
		if m[2] == "histogram" {
			all[m[1]+"_bucket"] = append(slices.Clone(labels), "le")
			all[m[1]+"_count"], all[m[1]+"_sum"] = labels, labels
		}
	}
	probed := regexp.MustCompile("(?m)^\\| `(tokensvc_probe_[a-z_]+)(?:\\{([a-z]+)\\})?` \\|") // a table of its own: another process has these
	for _, m := range probed.FindAllStringSubmatch(readDoc(t, "operations.md"), -1) {
		all[m[1]] = bareName.FindAllString(m[2], -1)
	}
	for _, r := range rules(t, "prometheus/rules.yaml") {
		all[r.Record] = nil
	}
	return all
}

// holds checks a query against what there is: a name that nobody exports shows
// nothing, for years, and looks like peace.
func holds(t *testing.T, where, query string, all map[string][]string) {
	t.Helper()
	names := metricsOf(t, query)
	labels := []string{"job", "instance", "namespace"} // Prometheus's own
	for _, name := range names {
		has, there := all[name]
		if !there {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		labels = append(labels, has...)
	}
	for _, m := range selector.FindAllStringSubmatch(query, -1) {
		own := append([]string{"job", "instance", "namespace"}, all[m[1]]...)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(own, l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(query, -1) {
		for _, l := range bareName.FindAllString(m[1], -1) {
			if !slices.Contains(labels, l) {
				t.Errorf("%s: nothing in it has a label %s", where, l)
			}
		}
	}
}

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	all := known(t)
	for title, list := range queries(t) {
		for _, q := range list {
			holds(t, title, q, all)
		}
	}
}

func TestRulesAskForWhatThereIs(t *testing.T) {
	all := known(t)
	for _, path := range []string{"prometheus/rules.yaml", "prometheus/alerts.yaml"} {
		for _, r := range rules(t, path) {
			holds(t, r.Record+r.Alert, r.Expr, all)
		}
	}
	for _, s := range scenarios(t) {
		for _, series := range s.Series {
			holds(t, s.Name, series.Series, all)
		}
	}
}

// What Grafana is given to start with fits together.
func TestGrafanaFindsTheDashboard(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, URL string
			IsDefault            bool              `yaml:"isDefault"`
			JSONData             map[string]string `yaml:"jsonData"`
		}
	}
	load(t, "grafana/provisioning/datasources/prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" || !sources.Datasources[0].IsDefault {
		t.Errorf("Grafana is given %+v for its data, want one Prometheus", sources.Datasources)
	}
	var config struct {
		Global struct {
			Scrape   string `yaml:"scrape_interval"`
			Evaluate string `yaml:"evaluation_interval"`
		}
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []any    `yaml:"scrape_configs"`
	}
	load(t, "prometheus/prometheus.yaml", &config)
	if got := sources.Datasources[0].JSONData["timeInterval"]; got != config.Global.Scrape {
		t.Errorf("Grafana is told of a sample each %s, Prometheus takes one each %s", got, config.Global.Scrape)
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type     string
			AllowUIUpdates bool `yaml:"allowUiUpdates"`
			Options        struct{ Path string }
		}
	}
	load(t, "grafana/provisioning/dashboards/tokensvc.yaml", &providers)
	if len(providers.Providers) != 1 || providers.Providers[0].Options.Path != "/etc/grafana/dashboards" {
		t.Errorf("Grafana looks for dashboards as in %+v", providers.Providers)
	}
}
