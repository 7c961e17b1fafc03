package charttest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var write = flag.Bool("write", false, "write what config may hold into the chart's schema, from docs/configuration.md")

const (
	manual = "../../docs/configuration.md"
	schema = "../chart/values.schema.json"
)

type object = map[string]any

// TestSchemaKnowsEveryKeyOfTheConfiguration holds `config` in the chart's schema
// to the table in the manual, which other tests hold to the program.
func TestSchemaKnowsEveryKeyOfTheConfiguration(t *testing.T) {
	var all object
	if err := json.Unmarshal(read(t, schema), &all); err != nil {
		t.Fatal(err)
	}
	all["properties"].(object)["config"] = schemaOfConfig(t)
	want := new(bytes.Buffer)
	to := json.NewEncoder(want)
	to.SetEscapeHTML(false)
	to.SetIndent("", "  ")
	if err := to.Encode(all); err != nil {
		t.Fatal(err)
	}
	if *write {
		if err := os.WriteFile(schema, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(read(t, schema), want.Bytes()) {
		t.Errorf("%s is not what %s says: run `make chart-schema`", schema, manual)
	}
}

// stricter is what the chart asks of a key beyond its type.
var stricter = map[string]object{
	// Whole seconds, which a template can add.
	"limits.drain_delay":   {"type": "string", "pattern": "^[0-9]+s$"},
	"limits.drain_timeout": {"type": "string", "pattern": "^[0-9]+s$"},
	// All of a pod's addresses: its port is what a Service leads to.
	"proxy_listen": {"type": "string", "pattern": "^:[0-9]+$"},
	// What several pods can share, and no URL with a password, which Helm would keep.
	"directory": {"type": "string", "pattern": "^(postgres(ql)?://([^:@/]*@)?[^@]*|file:.+|claim:.+)$", "not": object{"pattern": "[?&](ssl)?password="}},
	"cache":     {"type": "string", "pattern": "^(memory|none|rediss?://([^:@/]*@)?[^@]*)$"},
}

// schemaOfConfig is made of the rows of the manual's table.
func schemaOfConfig(t *testing.T) object {
	config := newObject()
	for _, row := range settings(t) {
		if row.key == "listen" || row.key == "ops_listen" {
			continue // the chart's own
		}
		at := config
		steps := strings.Split(row.key, ".")
		for _, step := range steps[:len(steps)-1] {
			at = below(at, step)
		}
		of := typeOf(row.accepted)
		if s, ok := stricter[row.key]; ok {
			of = s
		}
		at["properties"].(object)[steps[len(steps)-1]] = of
	}
	config["required"] = []any{"directory", "issuers", "limits"}
	in := config["properties"].(object)
	in["limits"].(object)["required"] = []any{"drain_delay", "drain_timeout"}
	in["issuers"].(object)["minItems"] = 1
	return config
}

func newObject() object {
	return object{"type": "object", "additionalProperties": false, "properties": object{}}
}

// below is the object of a key, such as limits, or of each in a list, such as issuers[].
func below(at object, step string) object {
	name, isList := strings.CutSuffix(step, "[]")
	in := at["properties"].(object)
	if _, ok := in[name]; !ok {
		in[name] = newObject()
		if isList {
			in[name] = object{"type": "array", "items": newObject()}
		}
	}
	if isList {
		return in[name].(object)["items"].(object)
	}
	return in[name].(object)
}

var wholeNumber = regexp.MustCompile(`^a whole number from `)

// typeOf reads the column of what is accepted.
func typeOf(accepted string) object {
	texts := object{"type": "array", "items": object{"type": "string"}}
	switch {
	case wholeNumber.MatchString(accepted):
		return object{"type": "integer"}
	case strings.HasPrefix(accepted, "a number"):
		return object{"type": "number"}
	case strings.HasPrefix(accepted, "a mapping"):
		return object{"type": "object"}
	case strings.HasPrefix(accepted, "text, or a list"), strings.HasPrefix(accepted, "a list"):
		return object{"oneOf": []any{object{"type": "string"}, texts}}
	case strings.HasPrefix(accepted, "true or false"):
		return object{"type": "boolean"}
	case strings.HasPrefix(accepted, "one of "):
		var words []any
		for word := range strings.SplitSeq(strings.TrimPrefix(accepted, "one of "), ", ") {
			words = append(words, word)
		}
		return object{"enum": words}
	}
	return object{"type": "string"}
}

type setting struct{ key, accepted string }

var row = regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\|.*\\| ([^|]+) \\|$")

func settings(t *testing.T) []setting {
	t.Helper()
	text := string(read(t, manual))
	_, text, ok := strings.Cut(text, "\n## Every setting\n")
	if !ok {
		t.Fatalf("%s has no table of settings", manual)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var all []setting
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		all = append(all, setting{key: m[1], accepted: m[2]})
	}
	if rows := strings.Count(text, "\n| `"); len(all) != rows || rows < 60 {
		t.Fatalf("read %d settings of a table with %d rows", len(all), rows)
	}
	return all
}

// TestSchemaRefuses is about slips of the pen, each in values that are otherwise in order.
func TestSchemaRefuses(t *testing.T) {
	rows := map[string]struct{ values, because string }{
		"a misspelt value":                    {"replica: 3", "replica"},
		"a misspelt value further down":       {"image: {tags: v1}", "tags"},
		"a misspelt key of the configuration": {"config: {limit: {in_flight: 10}}", "limit"},
		"one of an issuer":                    {"config: {issuers: [{issuer: https://login.example.com, audiance: softphone}]}", "audiance"},
		"one of another type":                 {"config: {limits: {in_flight: many}}", "in_flight"},
		"a word that is none of those":        {"config: {log: {level: loud}}", "level"},
		"no issuer":                           {"config: {issuers: []}", "issuers"},
		"a database that pods cannot share":   {"config: {directory: sqlite:/var/lib/tokensvc.db}", "directory"},
		"a password of the database":          {"config: {directory: 'postgres://tokensvc:hunter2@db/tokensvc'}", "directory"},
		"one in the URL's query":              {"config: {directory: 'postgres://tokensvc@db/tokensvc?password=hunter2'}", "directory"},
		"a password of the cache":             {"config: {cache: 'rediss://tokensvc:hunter2@redis:6379'}", "cache"},
		"a password of who migrates":          {"migration: {directory: 'postgres://owner:hunter2@db/tokensvc'}", "directory"},
		"that one in the URL's query":         {"migration: {directory: 'postgres://owner@db/tokensvc?sslmode=verify-full&password=hunter2'}", "directory"},
		"the listener that is the chart's":    {"config: {ops_listen: ':8080'}", "ops_listen"},
		"an API key among the values":         {"config: {telnyx: {api_key: KEY0123}}", "api_key"},
		"a drain that cannot be added":        {"config: {limits: {drain_timeout: 1m}}", "drain_timeout"},
		"an ingress without a host":           {"ingress: {enabled: true}", "hosts"},
		"a route that leads from nowhere":     {"route: {enabled: true, hostnames: [phone.example.com]}", "parentRefs"},
		"an external secret of no store":      {"secrets: {existing: '', external: {enabled: true, files: {telnyx-api-key: {key: tokensvc}}}}", "name"},
		"a secret's file with a path":         {"secrets: {external: {files: {../telnyx: {key: tokensvc}}}}", "../telnyx"},
		"a digest that is none":               {"image: {digest: latest}", "digest"},
		"a priority for no port":              {"networkPolicy: {egressPorts: [0]}", "egressPorts"},
		"a misspelt word about Prometheus":    {"serviceMonitor: {tlsConfig: {server_name: phone.example.com}}", "server_name"},
		"an authority that is nowhere":        {"serviceMonitor: {tlsConfig: {ca: {secret: {name: phone-ops}}}}", "key"},
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		row := rows[name]
		t.Run(name, func(t *testing.T) {
			_, err := render(t, "ci/minimal-values.yaml", row.values)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), row.because) || !strings.Contains(err.Error(), "schema") {
				t.Errorf("the schema does not speak of %s: %v", row.because, err)
			}
			if strings.Contains(err.Error(), "hunter2") && !strings.Contains(row.values, "hunter2") {
				t.Error("a secret that was not given is told")
			}
		})
	}
}

// TestChecksRefuse is about what contradicts itself, which a schema cannot say.
func TestChecksRefuse(t *testing.T) {
	for values, because := range map[string]string{
		"secrets: {existing: ''}": "is required",
		"secrets: {external: {enabled: true, store: {name: vault}, files: {telnyx-api-key: {key: tokensvc}}}}":                                      "exclude one another",
		"{ingress: {enabled: true, hosts: [phone.example.com]}, route: {enabled: true, hostnames: [phone.example.com], parentRefs: [{name: web}]}}": "exclude one another",
		"autoscaling: {enabled: true, minReplicas: 5, maxReplicas: 2}":                                                                              "at most",
		"files: {tokensvc.yaml: 'listen: :80'}":                                                                                                     "that is config",
		"secrets: {folders: {tokensvc: other}}":                                                                                                     "that is secrets.existing",
	} {
		if _, err := render(t, "ci/minimal-values.yaml", values); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: want a refusal with %q, got %v", values, because, err)
		}
	}
}
