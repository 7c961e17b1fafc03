package main

import (
	"slices"
	"strings"
	"testing"
)

const twoIssuers = `directory: claim:a
issuers:
- {name: acme, issuer: https://a.example.com, audience: x, require: {groups: agents}}
- {name: partner, issuer: https://b.example.com, audience: x}
`

// What rules are in force once a file is read again, in a word for each issuer.
func TestRulesOfAFileThatIsReadAgain(t *testing.T) {
	const acme, partner = "- {name: acme, issuer: https://a.example.com, audience: x", "- {name: partner, issuer: https://b.example.com, audience: x"
	for _, row := range []struct {
		says    string
		issuers []string
		want    string // "acme's rules, partner's rules", or "refused"
	}{
		{"nothing new", []string{acme + ", require: {groups: agents}}", partner + "}"}, "agents, none"},
		{"another rule", []string{acme + ", require: {groups: leads}}", partner + "}"}, "leads, none"},
		{"in another order", []string{partner + "}", acme + ", require: {groups: leads}}"}, "leads, none"},
		{"a first rule", []string{acme + ", require: {groups: agents}}", partner + ", require: {groups: x}}"}, "agents, x"},
		{"no rules any more", []string{acme + "}", partner + ", require: {groups: x}}"}, "refused"},
		{"none, and that is meant", []string{acme + ", require: {}}", partner + "}"}, "none, none"},
		{"none where there were none", []string{acme + ", require: {groups: agents}}", partner + ", require: {}}"}, "agents, none"},
		{"an issuer less", []string{partner + ", require: {groups: x}}"}, "agents, x"},
		{"an issuer elsewhere", []string{"- {name: acme, issuer: https://c.example.com, audience: x, require: {groups: leads}}", partner + "}"}, "agents, none"},
		{"an issuer of another name", []string{"- {name: other, issuer: https://a.example.com, audience: x}", partner + "}"}, "agents, none"},
		{"an issuer more", []string{acme + ", require: {groups: leads}}", partner + "}", "- {name: new, issuer: https://c.example.com, audience: x}"}, "leads, none"},
	} {
		running := mustLoad(t, configFile(t, twoIssuers), enough[0]).Issuers
		next := mustLoad(t, configFile(t, "directory: claim:a\nissuers:\n"+strings.Join(row.issuers, "\n")), enough[0])
		issuers, err := withRules(running, next.Issuers)
		got := "refused"
		if err == nil {
			var each []string
			for _, i := range issuers {
				rules := "none"
				if len(i.Require) > 0 {
					rules, _ = i.Require[0].AnyOf[0].(string)
				}
				each = append(each, rules)
			}
			got = strings.Join(each, ", ")
		}
		if got != row.want {
			t.Errorf("%s: %s (%v), want %s", row.says, got, err, row.want)
		}
	}
}

func TestKeysThatDiffer(t *testing.T) {
	base := mustLoad(t, configFile(t, twoIssuers), enough[0])
	for text, want := range map[string][]string{
		twoIssuers: nil,
		strings.ReplaceAll(twoIssuers, "agents", "leads"):                                          nil, // that is a rule
		twoIssuers + "limits: {in_flight: 7}\ntrusted_proxies: [10.0.0.0/8]\nlog: {level: warn}\n": {"trusted_proxies", "limits.in_flight", "log.level"},
		strings.ReplaceAll(twoIssuers, "audience: x}", "audience: y}"):                             {"issuers[1].audience"},
		strings.ReplaceAll(twoIssuers, "claim:a", "claim:b"):                                       {"directory"},
		twoIssuers + "- {name: new, issuer: https://c.example.com, audience: x}\n":                 {"issuers"},
		twoIssuers + "limits: {in_flight: 1024}\ncors: {origins: []}\n":                            nil, // as by default
	} {
		next, problems := loadAlone(configFile(t, text), enough[:1])
		if got := differing(base, next); !slices.Equal(got, want) || len(problems) > 0 {
			t.Errorf("%s: %v %v, want %v", text, got, problems, want)
		}
	}
}
