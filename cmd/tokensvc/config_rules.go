package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tokensvc/tokensvc/internal/authz"
)

func asRules(into *[]authz.Requirement) field {
	f := field{shape: aMapping, current: func() any { return *into }}
	f.expects = "a mapping of claims, each to a text, number, true, false, a list of these, or a mapping of operators"
	f.accept = func(v value) []flaw {
		rules, flaws := f.rulesOf(v.node)
		if len(flaws) == 0 {
			*into = rules
		}
		return flaws
	}
	return f
}

// rulesOf returns the rules, which are not nil though there be none: whoever
// writes {} means it.
func (f field) rulesOf(node *yaml.Node) (rules []authz.Requirement, flaws []flaw) {
	rules = []authz.Requirement{}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		claim := node.Content[i]
		rule, wrong := f.ruleOf(claim, node.Content[i+1])
		switch {
		case !oneText.admits(claim) || isAnchored(claim) || claim.Value == "":
			flaws = append(flaws, f.flawAt(claim, errUnexpected))
		case seen[claim.Value]:
			flaws = append(flaws, flaw{claim, "has a claim twice: give it a list of values, or several operators"})
		}
		seen[claim.Value] = true
		rules, flaws = append(rules, rule), append(flaws, wrong...)
	}
	return rules, flaws
}

// ruleOf reads what is asked of one claim: operators, or for short the values
// that any_of would take.
func (f field) ruleOf(claim, node *yaml.Node) (rule authz.Requirement, flaws []flaw) {
	rule.Claim = claim.Value
	if node.Kind == yaml.MappingNode && !isAnchored(node) {
		flaws = operatorsOf(&rule, claim, node)
	} else {
		for _, bad := range oneOrMany(&rule.AnyOf, operandOf)(node) {
			flaws = append(flaws, f.flawAt(bad, errUnexpected))
		}
	}
	if len(flaws) == 0 && rule.Claim != "" {
		if err := rule.Check(); err != nil {
			flaws = append(flaws, flaw{claim, err.Error()})
		}
	}
	return rule, flaws
}

// An operator is one thing that can be asked of a claim. Its read takes what a
// node says, or returns the nodes that do not say what is expected.
type operator struct {
	name    string
	expects string // completes "… takes"
	read    func(*yaml.Node) []*yaml.Node
}

func operators(r *authz.Requirement) []operator {
	const operand = "a text, number, true or false"
	pattern := fmt.Sprintf("a pattern of 1 to %d bytes with at most %d stars", authz.MaxPatternBytes, authz.MaxPatternStars)
	number := fmt.Sprintf("a number from -%d to %[1]d", authz.MaxNumber)
	age := fmt.Sprintf("a duration with its unit, from %s to %s", brief(authz.MinMaxAge), brief(authz.MaxMaxAge))
	return []operator{
		{"equals", operand, one(&r.Equals, operandOf)},
		{"any_of", "a list, each entry " + operand, many(&r.AnyOf, operandOf)},
		{"contains", operand + ", or a list of these", oneOrMany(&r.Contains, operandOf)},
		{"glob", pattern + ", or a list of these", oneOrMany(&r.Glob, patternOf)},
		{"at_least", number, one(&r.AtLeast, boundOf)},
		{"at_most", number, one(&r.AtMost, boundOf)},
		{"max_age", age, one(&r.MaxAge, ageOf)},
	}
}

// operatorsOf reads a mapping of operators into a rule. Neither an operator that
// is none nor an operand is repeated: they may be secrets in the wrong place.
func operatorsOf(rule *authz.Requirement, claim, node *yaml.Node) (flaws []flaw) {
	if len(node.Content) == 0 {
		return []flaw{{claim, "has a claim without an operator: take " + anyOperator()}}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, operand := node.Content[i], node.Content[i+1]
		o, known := findOperator(rule, name)
		switch {
		case !known:
			flaws = append(flaws, flaw{name, "has an unknown operator" + suggestOperator(name)})
		case seen[o.name]:
			flaws = append(flaws, flaw{name, "has an operator twice: " + o.name})
		case operand.ShortTag() == "!!null":
			flaws = append(flaws, flaw{name, o.name + " takes " + o.expects})
		default:
			for _, bad := range o.read(operand) {
				flaws = append(flaws, flaw{bad, o.name + " takes " + o.expects})
			}
		}
		seen[o.name] = true
	}
	return flaws
}

func findOperator(rule *authz.Requirement, name *yaml.Node) (operator, bool) {
	for _, o := range operators(rule) {
		if o.name == name.Value && oneText.admits(name) && !isAnchored(name) {
			return o, true
		}
	}
	return operator{}, false
}

func operatorNames() (names []string) {
	for _, o := range operators(&authz.Requirement{}) {
		names = append(names, o.name)
	}
	return names
}

func anyOperator() string { return "one of " + strings.Join(operatorNames(), ", ") }

func suggestOperator(name *yaml.Node) string {
	if near := nearest(name.Value, operatorNames()); near != "" && near != name.Value {
		return "; did you mean " + near + "?"
	}
	return ": take " + anyOperator()
}

func one[T any](into *T, parse func(*yaml.Node) (T, bool)) func(*yaml.Node) []*yaml.Node {
	return func(node *yaml.Node) []*yaml.Node {
		parsed, ok := parse(node)
		if !ok {
			return []*yaml.Node{node}
		}
		*into = parsed
		return nil
	}
}

func many[T any](into *[]T, parse func(*yaml.Node) (T, bool)) func(*yaml.Node) []*yaml.Node {
	return func(node *yaml.Node) (bad []*yaml.Node) {
		if node.Kind != yaml.SequenceNode || isAnchored(node) || len(node.Content) == 0 {
			return []*yaml.Node{node}
		}
		for _, entry := range node.Content {
			parsed, ok := parse(entry)
			if !ok {
				bad = append(bad, entry)
			}
			*into = append(*into, parsed)
		}
		return bad
	}
}

func oneOrMany[T any](into *[]T, parse func(*yaml.Node) (T, bool)) func(*yaml.Node) []*yaml.Node {
	return func(node *yaml.Node) []*yaml.Node {
		if node.Kind == yaml.SequenceNode {
			return many(into, parse)(node)
		}
		*into = make([]T, 1)
		return one(&(*into)[0], parse)(node)
	}
}

// operandOf returns the text, number or boolean that a node is. A YAML tag says
// of what type a node is meant to be, not that it is.
func operandOf(node *yaml.Node) (any, bool) {
	if node.Kind != yaml.ScalarNode || isAnchored(node) {
		return nil, false
	}
	switch node.ShortTag() {
	case "!!str":
		return node.Value, true
	case "!!bool":
		isTrue, isFalse := strings.EqualFold(node.Value, "true"), strings.EqualFold(node.Value, "false")
		return isTrue, isTrue || isFalse
	case "!!int", "!!float":
		return numberOf(node.Value)
	}
	return nil, false
}

// plainNumber is a number as JSON has it, and claims with it. YAML has more, and
// is not of one mind about 010.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func numberOf(text string) (any, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && plainNumber.MatchString(text) && isRule(authz.Requirement{Equals: n})
}

func boundOf(node *yaml.Node) (*float64, bool) {
	v, ok := operandOf(node)
	n, isNumber := v.(float64)
	return &n, ok && isNumber
}

func patternOf(node *yaml.Node) (string, bool) {
	v, ok := operandOf(node)
	pattern, isText := v.(string)
	return pattern, ok && isText && isRule(authz.Requirement{Glob: []string{pattern}})
}

func ageOf(node *yaml.Node) (time.Duration, bool) {
	v, ok := operandOf(node)
	text, isText := v.(string)
	age, err := time.ParseDuration(text)
	return age, ok && isText && err == nil && isRule(authz.Requirement{MaxAge: age})
}

// isRule reports whether a claim can be asked that.
func isRule(r authz.Requirement) bool {
	r.Claim = "any"
	return r.Check() == nil
}
