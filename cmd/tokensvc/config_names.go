package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var index = regexp.MustCompile(`\[[0-9]+\]`)

// generic turns issuers[2].name into issuers[].name, as the table has it.
func generic(key string) string { return index.ReplaceAllString(key, "[]") }

// numbered turns issuers[].name into issuers[2].name.
func numbered(key string, i int) string {
	return strings.Replace(key, "[]", fmt.Sprintf("[%d]", i), 1)
}

func find(key string, table []setting) (setting, bool) {
	for _, s := range table {
		if s.key == generic(key) {
			return s, true
		}
	}
	return setting{}, false
}

// isKnown reports whether name can stand in the mapping whose keys begin with
// prefix. Names have one part each: limits.in_flight is for our messages only.
func isKnown(prefix, name string, table []setting) bool {
	return slices.Contains(siblings(prefix, table), name)
}

// siblings returns the names that can stand in a mapping.
func siblings(prefix string, table []setting) []string {
	var names []string
	for _, s := range table {
		if rest, ok := strings.CutPrefix(s.key, generic(prefix)); ok && rest != "" {
			name, _, _ := strings.Cut(rest, ".")
			names = append(names, strings.TrimSuffix(name, "[]"))
		}
	}
	return names
}

// keyLike is what a key may look like to be shown. A secret that has slipped
// into the place of a key would have digits or capitals.
var keyLike = regexp.MustCompile(`^[a-z_]{1,32}$`)

// unknown reports an entry whose key is not in the table.
func (l *configLoader) unknown(name *yaml.Node, prefix string, table []setting) {
	key, shown := strings.TrimSuffix(prefix, "."), keyLike.MatchString(name.Value)
	if shown {
		key = prefix + name.Value
	}
	text := "unknown key"
	switch near := nearestKey(name.Value, prefix, table); {
	case name.Value == "api_key":
		text += ": the API key does not go into this file; use telnyx.api_key_file, or the variable TELNYX_API_KEY"
	case near != "":
		text += "; did you mean " + near + "?"
	case !shown:
		text += ", not shown in case it is a secret"
	}
	l.refuse(key, l.inFile(name, key), text)
}

// nearestKey returns the key beside name that is spelled most like it, or one
// that has the very name elsewhere.
func nearestKey(name, prefix string, table []setting) string {
	if near := nearest(name, siblings(prefix, table)); near != "" {
		return prefix + near
	}
	for _, s := range table {
		if strings.HasSuffix(s.key, "."+name) {
			return s.key
		}
	}
	return ""
}

// nearest returns the candidate that differs least from name, or nothing if
// more than a third would have to change.
func nearest(name string, candidates []string) string {
	best, least := "", 0
	for _, c := range candidates {
		d := distance(plain(name), plain(c))
		if d <= max(1, len(c)/3) && (best == "" || d < least) {
			best, least = c, d
		}
	}
	return best
}

// plain makes in_flight, inFlight and IN-FLIGHT the same, and keeps it short:
// nothing longer resembles a key.
func plain(s string) string {
	s = strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
	return s[:min(len(s), 64)]
}

// distance is how many bytes must be inserted, removed or replaced to turn a
// into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
