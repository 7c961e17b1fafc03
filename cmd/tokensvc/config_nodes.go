package main

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// fromNode returns what a YAML node says, if it has the shape.
func (s shape) fromNode(node *yaml.Node) (value, bool) {
	switch {
	case s == someRules:
		return value{node: node}, node.Kind == yaml.MappingNode
	case s == someTexts && node.Kind == yaml.SequenceNode:
		return textsOf(node)
	}
	return value{words: []word{{node.Value, node}}}, s.admits(node)
}

// admits reports whether a node is a scalar of the right type: a number in
// quotes is a text, and a text that looks like a number is one.
func (s shape) admits(node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode {
		return false
	}
	switch node.ShortTag() {
	case "!!str":
		return s == oneText || s == someTexts
	case "!!int":
		return s == oneInteger || s == oneNumber
	case "!!float":
		return s == oneNumber
	}
	return false
}

func textsOf(list *yaml.Node) (value, bool) {
	var v value
	for _, item := range list.Content {
		if isNoText(item) {
			return value{}, false
		}
		v.words = append(v.words, word{item.Value, item})
	}
	return v, true
}

func isNoText(node *yaml.Node) bool { return !oneText.admits(node) || isAnchored(node) }

// fromVariable returns what an environment variable says: lists are separated
// by commas, rules are a YAML mapping as in the file.
func (s shape) fromVariable(text string) (value, bool) {
	switch s {
	case someRules:
		node, problem := parseDocument([]byte(text))
		return value{node: node}, problem == nil
	case someTexts:
		var v value
		for part := range strings.SplitSeq(text, ",") {
			v.words = append(v.words, word{text: strings.TrimSpace(part)})
		}
		return v, true
	}
	return value{words: []word{{text: text}}}, true
}

func asRules(into *[]authz.Requirement) field {
	f := field{shape: someRules, current: func() any { return *into }}
	f.expects = "a mapping of claims, each to a text, true, false, or a list of these"
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
		values := acceptedValues(node.Content[i+1])
		switch {
		case !oneText.admits(claim) || isAnchored(claim) || claim.Value == "" || len(values) == 0:
			flaws = append(flaws, f.flawAt(claim, errUnexpected))
		case seen[claim.Value]:
			flaws = append(flaws, flaw{claim, "has a claim twice: give it a list of values"})
		}
		seen[claim.Value] = true
		rules = append(rules, authz.Requirement{Claim: claim.Value, AnyOf: values})
	}
	return rules, flaws
}

// acceptedValues returns the values that a rule accepts, or nothing if they
// are not texts and booleans.
func acceptedValues(node *yaml.Node) []any {
	nodes := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode && !isAnchored(node) {
		nodes = node.Content
	}
	var values []any
	for _, n := range nodes {
		switch {
		case n.Kind != yaml.ScalarNode || isAnchored(n):
			return nil
		case n.ShortTag() == "!!bool":
			values = append(values, strings.EqualFold(n.Value, "true"))
		case n.ShortTag() == "!!str":
			values = append(values, n.Value)
		default:
			return nil
		}
	}
	return values
}
