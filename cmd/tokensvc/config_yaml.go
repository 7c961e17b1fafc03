package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const maxConfigFile = 1 << 20 // bytes

// Texts that several places share.
const (
	noAnchors = "must be written out: anchors and aliases are not accepted"
	noValue   = "has no value: give it one, or leave the key out"
)

// readFile takes the file's values, and reports whether it could be parsed.
func (l *configLoader) readFile() bool {
	root, problem := readDocument(l.path)
	if problem != nil {
		l.refuse("", l.inFile(problem.node, ""), problem.text)
		return false
	}
	l.mapping(root, "", settings(&l.config, &IssuerConfig{}))
	l.resolvePaths(filepath.Dir(l.path))
	return true
}

// resolvePaths makes the file's paths relative to its folder: they are written
// by somebody who does not know where the process will be started.
func (l *configLoader) resolvePaths(folder string) {
	resolve := func(table []setting, ofIssuer bool) {
		for _, s := range table {
			if s.field.resolve != nil && s.ofIssuer() == ofIssuer {
				s.field.resolve(folder)
			}
		}
	}
	resolve(settings(&l.config, &IssuerConfig{}), false)
	for i := range l.config.Issuers {
		resolve(settings(&l.config, &l.config.Issuers[i]), true)
	}
}

func readDocument(path string) (*yaml.Node, *flaw) {
	data, err := readAtMost(path, maxConfigFile)
	if err != nil {
		return nil, &flaw{text: err.Error()}
	}
	return parseDocument(data)
}

// parseDocument returns the mapping that data, one YAML document, consists of.
func parseDocument(data []byte) (*yaml.Node, *flaw) {
	switch {
	case len(data) > maxConfigFile:
		return nil, &flaw{text: "must be at most 1 MiB"}
	case !utf8.Valid(data):
		line := 1 + bytes.Count(data[:invalidAt(data)], []byte("\n"))
		return nil, &flaw{&yaml.Node{Line: line}, "must be UTF-8"}
	}
	var first, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&first); err != nil {
		return nil, syntaxFlaw(err)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, &flaw{&second, "must be one YAML document, not several"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxFlaw(err)
	}
	root := first.Content[0]
	switch {
	case root.ShortTag() == "!!null":
		return nil, &flaw{text: "is empty"}
	case root.Kind != yaml.MappingNode:
		return nil, &flaw{root, "must be a mapping of keys to values"}
	}
	return root, nil
}

func invalidAt(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+):`)

// syntaxFlaw keeps nothing but the line of the parser's error, whose text may
// quote the file.
func syntaxFlaw(err error) *flaw {
	if errors.Is(err, io.EOF) {
		return &flaw{text: "is empty"}
	}
	match := yamlLine.FindStringSubmatch(err.Error())
	if match == nil {
		return &flaw{text: "is not valid YAML"}
	}
	line, _ := strconv.Atoi(match[1])
	return &flaw{&yaml.Node{Line: line}, "is not valid YAML, here or next to here"}
}

// inFile is the place of a node, or of the file as a whole.
func (l *configLoader) inFile(node *yaml.Node, key string) configPlace {
	at := configPlace{where: l.path}
	if node != nil {
		at.line, at.column = node.Line, node.Column
		at.where += ":" + strconv.Itoa(node.Line)
	}
	if key != "" {
		at.where += ": " + key
	}
	return at
}

// mapping takes the entries of a mapping whose keys begin with prefix.
func (l *configLoader) mapping(node *yaml.Node, prefix string, table []setting) {
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, val := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		switch line, again := first[name.Value]; {
		case isAnchored(name):
			l.refuse(prefix, l.inFile(name, strings.TrimSuffix(prefix, ".")), noAnchors)
		case name.Kind != yaml.ScalarNode || !isKnown(prefix, name.Value, table):
			l.unknown(name, prefix, table)
		case again:
			l.refuse(key, l.inFile(name, key), fmt.Sprintf("is there twice: first on line %d", line))
		default:
			first[name.Value] = name.Line
			l.entry(key, name, val, table)
		}
	}
}

// entry takes one entry whose key is known.
func (l *configLoader) entry(key string, name, val *yaml.Node, table []setting) {
	at := l.inFile(name, key)
	l.places[key] = at
	s, isSetting := find(key, table)
	switch {
	case isAnchored(val):
		l.refuse(key, l.inFile(val, key), noAnchors)
	case val.ShortTag() == "!!null":
		l.refuse(key, at, noValue)
	case isSetting:
		l.value(key, at, val, s)
	case key == "issuers":
		l.issuers(at, val)
	case val.Kind != yaml.MappingNode:
		l.refuse(key, at, "must be a mapping of keys to values")
	default:
		l.mapping(val, key+".", table)
	}
}

// value takes the value of a setting.
func (l *configLoader) value(key string, at configPlace, node *yaml.Node, s setting) {
	v, ok := s.field.shape.fromNode(node)
	if !ok {
		text := "has the wrong type: must be " + s.field.expects
		if list := node.Content; s.field.shape == someTexts && node.Kind == yaml.SequenceNode {
			text += whichOf(slices.IndexFunc(list, isNoText), len(list))
		}
		l.refuse(key, at, text)
		return
	}
	for _, f := range s.field.accept(v) {
		if f.node != nil {
			at = l.inFile(f.node, key)
		}
		l.refuse(key, at, f.text)
	}
}

func (l *configLoader) issuers(at configPlace, list *yaml.Node) {
	if list.Kind != yaml.SequenceNode {
		l.refuse("issuers", at, "must be a list of issuers")
		return
	}
	l.config.Issuers = slices.Repeat([]IssuerConfig{newIssuer()}, len(list.Content))
	for i, item := range list.Content {
		key := issuerKey(i, "")
		l.places[key] = l.inFile(item, "")
		switch {
		case isAnchored(item):
			l.refuse(key, l.inFile(item, key), noAnchors)
		case item.Kind != yaml.MappingNode:
			l.refuse(key, l.inFile(item, key), "must be a mapping of keys to values")
		default:
			l.mapping(item, key+".", settings(&l.config, &l.config.Issuers[i]))
		}
	}
}

func isAnchored(node *yaml.Node) bool { return node.Kind == yaml.AliasNode || node.Anchor != "" }
