package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/authz"
)

func TestConfigRules(t *testing.T) {
	number := func(n float64) *float64 { return &n }
	path := configFile(t, enoughYAML+`    require:
      groups: {any_of: [agents, true, 7]}
      roles: {contains: phone}
      scopes: {contains: [phone, 'true', 1.5]}
      email: {glob: '*@example.com'}
      team: {glob: [eu-*, us-*]}
      level: {at_least: -1, at_most: 1e3}
      auth_time: {max_age: 1h30m}
      account: {equals: 9007199254740991}
      active: {equals: !!bool TRUE, any_of: [true]}
      word: 7
`)
	want := []authz.Requirement{
		{Claim: "groups", AnyOf: []any{"agents", true, 7.0}},
		{Claim: "roles", Contains: []any{"phone"}},
		{Claim: "scopes", Contains: []any{"phone", "true", 1.5}},
		{Claim: "email", Glob: []string{"*@example.com"}},
		{Claim: "team", Glob: []string{"eu-*", "us-*"}},
		{Claim: "level", AtLeast: number(-1), AtMost: number(1000)},
		{Claim: "auth_time", MaxAge: 90 * time.Minute},
		{Claim: "account", Equals: 9007199254740991.0},
		{Claim: "active", Equals: true, AnyOf: []any{true}},
		{Claim: "word", AnyOf: []any{7.0}},
	}
	c := mustLoad(t, path, "TELNYX_API_KEY="+testKey)
	if diff := cmp.Diff(want, c.Issuers[0].Require); diff != "" {
		t.Error(diff)
	}
}

// Every flaw of every rule at once, each at its own node, with nothing of what
// was written there.
func TestConfigRulesThatAreNone(t *testing.T) {
	const (
		operand = "a text, number, true or false"
		pattern = "a pattern of 1 to 256 bytes with at most 8 stars, or a list of these"
		number  = "a number from -9007199254740991 to 9007199254740991"
		age     = "a duration with its unit, from 1s to 8784h"
		values  = "must be a mapping of claims, each to a text, number, true, false, a list of these, or a mapping of operators"
		names   = "one of equals, any_of, contains, glob, at_least, at_most, max_age"
	)
	for _, test := range []struct {
		require string
		want    []string // line below require, and text
	}{
		{"{a: {}}", []string{"0 has a claim without an operator: take " + names}},
		{"\n  a:\n    like: x\n    glob: x", []string{"2 has an unknown operator: take " + names}},
		{"\n  a:\n    anyof: [x]", []string{"2 has an unknown operator; did you mean any_of?"}},
		{"\n  a:\n    At_Least: 1", []string{"2 has an unknown operator; did you mean at_least?"}},
		{"\n  a:\n    &x glob: x", []string{"2 has an unknown operator: take " + names}},
		{"\n  a:\n    ? [glob]\n    : x", []string{"2 has an unknown operator: take " + names}},
		{"\n  a:\n    glob: x\n    glob: y", []string{"3 has an operator twice: glob"}},
		{"\n  a:\n    glob: x\n  a: y", []string{"3 has a claim twice: give it a list of values, or several operators"}},
		{"\n  a:\n  - x\n  - null\n  - [y]\n  b:\n    - 010", []string{"3 " + values, "4 " + values, "6 " + values}},

		{"\n  a:\n    equals: [x]", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: {x: y}", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals:", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: &x y", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: 2001-01-01", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: !!bool yes", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: !!int x", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: 9007199254740992", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: 99999999999999999999", []string{"2 equals takes " + operand}},
		{"\n  a:\n    equals: .nan", []string{"2 equals takes " + operand}},
		{"\n  a:\n    any_of: x", []string{"2 any_of takes a list, each entry " + operand}},
		{"\n  a:\n    any_of: []", []string{"2 any_of takes a list, each entry " + operand}},
		{"\n  a:\n    any_of: &x [y]", []string{"2 any_of takes a list, each entry " + operand}},
		{"\n  a:\n    any_of:\n    - x\n    - [y]\n    - z\n    - ~", []string{"4 any_of takes a list, each entry " + operand, "6 any_of takes a list, each entry " + operand}},
		{"\n  a:\n    contains: []", []string{"2 contains takes " + operand + ", or a list of these"}},
		{"\n  a:\n    contains: {x: y}", []string{"2 contains takes " + operand + ", or a list of these"}},
		{"\n  a:\n    contains:\n    - {x: y}", []string{"3 contains takes " + operand + ", or a list of these"}},
		{"\n  a:\n    glob: []", []string{"2 glob takes " + pattern}},
		{"\n  a:\n    glob: ''", []string{"2 glob takes " + pattern}},
		{"\n  a:\n    glob: 7", []string{"2 glob takes " + pattern}},
		{"\n  a:\n    glob:\n    - x*\n    - '*********'\n    - " + strings.Repeat("x", 257), []string{"4 glob takes " + pattern, "5 glob takes " + pattern}},
		{"\n  a:\n    at_least: '18'\n    at_most: true", []string{"2 at_least takes " + number, "3 at_most takes " + number}},
		{"\n  a:\n    at_least: 0x10\n    at_most: 1_000", []string{"2 at_least takes " + number, "3 at_most takes " + number}},
		{"\n  a:\n    at_least: 1e400\n    at_most: [1]", []string{"2 at_least takes " + number, "3 at_most takes " + number}},
		{"\n  a:\n    at_least: 3\n    at_most: 2", []string{"1 at_least must not be more than at_most"}},
		{"\n  a:\n    max_age: 8", []string{"2 max_age takes " + age}},
		{"\n  a:\n    max_age: 0s\n  b:\n    max_age: -1h\n  c:\n    max_age: 9000h\n  d:\n    max_age: [8h]", []string{"2 max_age takes " + age, "4 max_age takes " + age, "6 max_age takes " + age, "8 max_age takes " + age}},
	} {
		var want []string
		for _, w := range test.want {
			below, text, _ := strings.Cut(w, " ")
			line, _ := strconv.Atoi(below)
			want = append(want, fmt.Sprintf("tokensvc.yaml:%d: issuers[0].require: %s", line+5, text))
		}
		file := enoughYAML + "    require: " + strings.ReplaceAll(test.require, "\n", "\n    ") + "\n"
		if got := problemLines(t, configFile(t, file), []string{"TELNYX_API_KEY=" + testKey}); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", test.require, got, want)
		}
	}
}

// The manual has a row for each operator, and its example of rules works.
func TestConfigManualHasEveryOperator(t *testing.T) {
	text := readManual(t)
	for _, name := range operatorNames() {
		if !strings.Contains(text, "`"+name+": ") {
			t.Errorf("%s has no row for %s", manual, name)
		}
	}
	_, example, _ := strings.Cut(text, "```yaml\nrequire:\n")
	example, _, _ = strings.Cut(example, "```")
	file := enoughYAML + "    require:\n    " + strings.ReplaceAll(example, "\n", "\n    ") + "\n"
	if c := mustLoad(t, configFile(t, file), "TELNYX_API_KEY="+testKey); len(c.Issuers[0].Require) != 7 {
		t.Errorf("%d rules, want 7", len(c.Issuers[0].Require))
	}
}
