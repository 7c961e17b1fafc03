package authz

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a rule may say.
const (
	// MaxNumber is the largest number in a rule, with either sign. Claims are
	// decoded as float64: up to here every whole number is itself, above it two
	// account numbers can become one.
	MaxNumber = 1<<53 - 1

	MinMaxAge = time.Second
	MaxMaxAge = 366 * 24 * time.Hour
)

// A Requirement is what must hold of one claim of a caller's. The claim must be
// there, and meet every operator that is set, of which there must be one. A
// claim of a type that an operator is not about does not meet it.
//
// Operands are strings, booleans and numbers. These are different values:
// "true" is not true, and "7" is not 7. Numbers are float64 and compared
// exactly, each as the double nearest to what is written: whole numbers up to
// MaxNumber are told apart, and others as far as their first 15 digits go.
type Requirement struct {
	// Claim is a claim's name, or a dotted path into nested claims
	// ("realm_access.roles"). A name that itself has dots, such as
	// "https://example.com/roles", is found as it stands: the longest literal
	// name wins over the path.
	Claim string
	// Equals is the value that the claim must have. A list equals nothing, not
	// even a list of that one value.
	Equals any
	// AnyOf are the accepted values: the claim must be one of them or, if it is
	// a list, have one.
	AnyOf []any
	// Contains are values that the claim, which must be a list, must all have.
	Contains []any
	// Glob are patterns in which * stands for any run of characters. The claim,
	// or if it is a list one of its entries, must be a string that one of them
	// describes from end to end; case counts. A pattern has at most
	// MaxPatternBytes and MaxPatternStars.
	Glob []string
	// AtLeast and AtMost bound the claim, which must be a number.
	AtLeast, AtMost *float64
	// MaxAge is how long ago the claim, which must be a NumericDate such as
	// auth_time, may lie. It may lie ahead by the issuer's clock skew. From
	// MinMaxAge to MaxMaxAge; 0 asks nothing.
	MaxAge time.Duration
}

// Check says what is wrong with the rule, if anything. The error repeats
// nothing of it.
func (r Requirement) Check() error {
	asked := false
	for _, o := range []struct {
		isSet, fits bool
		takes       string
	}{
		{r.Equals != nil, isOperand(r.Equals), "equals takes a text, number or boolean"},
		{r.AnyOf != nil, each(r.AnyOf, isOperand), "any_of takes texts, numbers and booleans, at least one"},
		{r.Contains != nil, each(r.Contains, isOperand), "contains takes texts, numbers and booleans, at least one"},
		{r.Glob != nil, each(r.Glob, isPattern), fmt.Sprintf("glob takes patterns of 1 to %d bytes and at most %d stars, at least one", MaxPatternBytes, MaxPatternStars)},
		{r.AtLeast != nil, isBound(r.AtLeast), "at_least takes a number"},
		{r.AtMost != nil, isBound(r.AtMost), "at_most takes a number"},
		{r.MaxAge != 0, r.MaxAge >= MinMaxAge && r.MaxAge <= MaxMaxAge, fmt.Sprintf("max_age takes a duration from %s to %s", brief(MinMaxAge), brief(MaxMaxAge))},
	} {
		if o.isSet && !o.fits {
			return errors.New(o.takes)
		}
		asked = asked || o.isSet
	}
	switch {
	case r.Claim == "":
		return errors.New("a claim's name is empty")
	case !asked:
		return errors.New("nothing is asked of a claim")
	case r.AtLeast != nil && r.AtMost != nil && *r.AtLeast > *r.AtMost:
		return errors.New("at_least must not be more than at_most")
	}
	return nil
}

func each[T any](operands []T, fits func(T) bool) bool {
	return len(operands) > 0 && !slices.ContainsFunc(operands, func(o T) bool { return !fits(o) })
}

func isOperand(v any) bool {
	switch v := v.(type) {
	case string, bool:
		return true
	case float64:
		return math.Abs(v) <= MaxNumber // and so is no NaN
	}
	return false
}

func isBound(n *float64) bool { return n != nil && isOperand(*n) }

// A rule is one operator of a Requirement, ready to be applied.
type rule struct {
	claim string
	name  string
	meets test
}

// A test reports whether a claim's value, as decoded from JSON, is as it must
// be.
type test func(value any, now time.Time) bool

func (r rule) isMet(claims map[string]any, now time.Time) bool {
	value, ok := lookup(claims, r.claim)
	return ok && r.meets(value, now)
}

// rules returns a rule for each operator that is set.
func (r Requirement) rules(skew time.Duration) (all []rule) {
	add := func(operator, operand string, meets test) {
		all = append(all, rule{r.Claim, ruleName(r.Claim, operator, operand), meets})
	}
	if r.Equals != nil {
		add("equals", show(r.Equals), equals(r.Equals))
	}
	if r.AnyOf != nil {
		add("any_of", showAll(r.AnyOf), oneOf(slices.Clone(r.AnyOf)))
	}
	if r.Contains != nil {
		add("contains", showAll(r.Contains), hasAll(slices.Clone(r.Contains)))
	}
	if r.Glob != nil {
		add("glob", showAll(r.Glob), like(r.Glob))
	}
	if r.AtLeast != nil {
		add("at_least", show(*r.AtLeast), atLeast(*r.AtLeast))
	}
	if r.AtMost != nil {
		add("at_most", show(*r.AtMost), atMost(*r.AtMost))
	}
	if r.MaxAge != 0 {
		add("max_age", brief(r.MaxAge), noOlderThan(r.MaxAge, skew))
	}
	return all
}

// A comparison of two any is of their types first. Operands are of comparable
// types only, so a claim that is not is unequal, and does not panic.

func equals(want any) test {
	return func(value any, _ time.Time) bool { return value == want }
}

func oneOf(accepted []any) test {
	return func(value any, _ time.Time) bool {
		if list, ok := value.([]any); ok {
			return slices.ContainsFunc(list, func(entry any) bool { return slices.Contains(accepted, entry) })
		}
		return slices.Contains(accepted, value)
	}
}

func hasAll(wanted []any) test {
	return func(value any, _ time.Time) bool {
		list, ok := value.([]any)
		return ok && !slices.ContainsFunc(wanted, func(w any) bool { return !slices.Contains(list, w) })
	}
}

func like(patterns []string) test {
	var globs []glob
	for _, p := range patterns {
		globs = append(globs, newGlob(p))
	}
	fits := func(entry any) bool {
		text, ok := entry.(string)
		return ok && slices.ContainsFunc(globs, func(g glob) bool { return g.matches(text) })
	}
	return func(value any, _ time.Time) bool {
		if list, ok := value.([]any); ok {
			return slices.ContainsFunc(list, fits)
		}
		return fits(value)
	}
}

func atLeast(least float64) test {
	return func(value any, _ time.Time) bool { n, ok := value.(float64); return ok && n >= least }
}

func atMost(most float64) test {
	return func(value any, _ time.Time) bool { n, ok := value.(float64); return ok && n <= most }
}

func noOlderThan(age, skew time.Duration) test {
	return func(value any, now time.Time) bool {
		at, ok := numericDate(value)
		return ok && !at.IsZero() && now.Sub(at) <= age && at.Sub(now) <= skew
	}
}

// lookup finds a claim by name or dotted path, the longest literal name first.
func lookup(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	for end := strings.LastIndexByte(path, '.'); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		inner, ok := claims[path[:end]].(map[string]any)
		if !ok {
			continue
		}
		if v, ok := lookup(inner, path[end+1:]); ok {
			return v, true
		}
	}
	return nil, false
}

// maxRuleName is the most characters in a rule's name: it is a metric's label
// and in every log line about it, and a list of values can be long.
const maxRuleName = 120

func ruleName(claim, operator, operand string) string {
	name := []rune(show(claim) + ": " + operator + " " + operand)
	if len(name) > maxRuleName {
		name = append(name[:maxRuleName-1], '…')
	}
	return string(name)
}

var plainWord = regexp.MustCompile(`^[A-Za-z*@/_][A-Za-z0-9*@/_.:+-]*$`)

// show spells an operand so that no two look the same and none breaks a line.
func show(v any) string {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) {
			return strconv.FormatFloat(v, 'f', 0, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		if plainWord.MatchString(v) && v != "true" && v != "false" {
			return v
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

func showAll[T any](operands []T) string {
	var all []string
	for _, o := range operands {
		all = append(all, show(o))
	}
	return "[" + strings.Join(all, " ") + "]"
}

// brief prints 8h0m0s as 8h.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
