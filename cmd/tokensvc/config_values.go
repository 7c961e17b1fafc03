package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// A field is where a setting goes and what may go there. Its flaws never
// repeat what they refuse.
type field struct {
	shape   shape
	expects string // completes "must be …"
	accept  func(value) []flaw
	current func() any          // what is there now
	resolve func(folder string) // of a path: makes a relative one begin there; else nil
}

// A shape is how a value is written: what YAML calls its type.
type shape int

const (
	oneText shape = iota
	oneInteger
	oneNumber
	someTexts
	aMapping
)

// A value is what was written for a setting, not yet understood: the words, or
// for a mapping the node.
type value struct {
	words []word
	node  *yaml.Node
}

// A word is one text, with its node if it comes from the file.
type word struct {
	text string
	node *yaml.Node
}

// A flaw is what is wrong with a value, at a node of its own if it has one.
type flaw struct {
	node *yaml.Node
	text string
}

// errUnexpected says that a text is not what the field expects.
var errUnexpected = errors.New("unexpected")

func (f field) flawAt(node *yaml.Node, err error) flaw {
	if errors.Is(err, errUnexpected) {
		return flaw{node, "must be " + f.expects}
	}
	return flaw{node, err.Error()}
}

// flawOf returns what is wrong with a text that stands for the field in no
// variable and no file, or nothing.
func flawOf(f field, text string) string {
	v, ok := f.shape.fromVariable(text)
	if !ok {
		return "must be " + f.expects
	}
	for _, flaw := range f.accept(v) {
		return flaw.text
	}
	return ""
}

// asOne is a field of one text that parse understands.
func asOne[T any](into *T, s shape, expects string, parse func(string) (T, error)) field {
	f := field{shape: s, expects: expects, current: func() any { return *into }}
	f.accept = func(v value) []flaw {
		parsed, err := parse(v.words[0].text)
		if err != nil {
			return []flaw{f.flawAt(v.words[0].node, err)}
		}
		*into = parsed
		return nil
	}
	return f
}

// asMany is a field of several texts that parse understands one by one.
func asMany[T any](into *[]T, expects string, parse func(string) (T, error)) field {
	f := field{shape: someTexts, expects: expects, current: func() any { return *into }}
	f.accept = func(v value) []flaw {
		var all []T
		var flaws []flaw
		for i, w := range v.words {
			parsed, err := parse(w.text)
			if err != nil {
				flaw := f.flawAt(w.node, err)
				flaw.text += whichOf(i, len(v.words))
				flaws = append(flaws, flaw)
			}
			all = append(all, parsed)
		}
		if len(flaws) == 0 {
			*into = all
		}
		return flaws
	}
	return f
}

// whichOf says which of several elements is meant.
func whichOf(i, of int) string {
	if of == 1 {
		return ""
	}
	return fmt.Sprintf("; element %d is not", i+1)
}

// only makes a parser of a predicate.
func only(valid func(string) bool) func(string) (string, error) {
	return func(s string) (string, error) {
		if !valid(s) {
			return "", errUnexpected
		}
		return s, nil
	}
}

func isText(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func asText(into *string, expects string) field {
	return asOne(into, oneText, expects, only(isText))
}

func asPath(into *string) field {
	f := asText(into, "the path of a file")
	f.resolve = func(folder string) { *into = inFolder(folder, *into) }
	return f
}

// standardOutput is what is written for it in the place of a path.
const standardOutput = "-"

func asAuditFile(into *string) field {
	f := asText(into, "the path of a file, or - for standard output")
	f.resolve = func(folder string) {
		if *into != standardOutput {
			*into = inFolder(folder, *into)
		}
	}
	return f
}

func inFolder(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// asKeys takes anything that looks like a text: authz says what is wrong with
// it.
func asKeys(into *string) field {
	f := asText(into, "discovery, file:PATH or the URL of a JWK set, https, or http on a loopback address")
	f.resolve = func(folder string) {
		if path, isFile := strings.CutPrefix(*into, "file:"); isFile {
			*into = "file:" + inFolder(folder, path)
		}
	}
	return f
}

func asTexts(into *[]string, expects string, valid func(string) bool) field {
	f := asMany(into, expects, only(valid))
	each := f.accept
	f.accept = func(v value) []flaw {
		if len(v.words) == 0 {
			return []flaw{f.flawAt(nil, errUnexpected)}
		}
		return each(v)
	}
	return f
}

func isAlgorithm(s string) bool { return slices.Contains(authz.DefaultAlgorithms, s) }

func asOneOf(into *string, words ...string) field {
	return asOne(into, oneText, "one of "+strings.Join(words, ", "), only(func(s string) bool {
		return slices.Contains(words, s)
	}))
}

func asWhole(into *int, least, most int) field {
	expects := fmt.Sprintf("a whole number from %d to %d", least, most)
	return asOne(into, oneInteger, expects, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, errUnexpected
		}
		return n, nil
	})
}

func asShare(into *float64) field {
	return asOne(into, oneNumber, "a number between 0 and 1, both excluded", func(s string) (float64, error) {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || !(x > 0 && x < 1) { // so, and not the other way round, for NaN
			return 0, errUnexpected
		}
		return x, nil
	})
}

func asDuration(into *time.Duration, least, most time.Duration) field {
	expects := fmt.Sprintf("a duration with its unit, from %s to %s", brief(least), brief(most))
	return asOne(into, oneText, expects, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d < least || d > most {
			return 0, errUnexpected
		}
		return d, nil
	})
}

// asDurationOrNone takes a written 0 for none, where authz takes a zero for the
// default.
func asDurationOrNone(into *time.Duration, most time.Duration) field {
	f := asDuration(into, 0, most)
	accept := f.accept
	f.accept = func(v value) []flaw {
		flaws := accept(v)
		if len(flaws) == 0 && *into == 0 {
			*into = -1
		}
		return flaws
	}
	return f
}

var zeroUnits = regexp.MustCompile(`([hm])(0m)?0s$`)

// brief prints 5m0s as 5m.
func brief(d time.Duration) string { return zeroUnits.ReplaceAllString(d.String(), "$1") }
