package main

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// fromNode returns what a YAML node says, if it has the shape.
func (s shape) fromNode(node *yaml.Node) (value, bool) {
	switch {
	case s == aMapping:
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

func isPlainText(node *yaml.Node) bool {
	return oneText.admits(node) && !isAnchored(node) && isText(node.Value)
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
// by commas, mappings are YAML as in the file.
func (s shape) fromVariable(text string) (value, bool) {
	switch s {
	case aMapping:
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
