package authz_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/tokensvc/tokensvc/internal/authz"
)

var noon = time.Unix(1_700_000_000, 0)

// policy is what the rows of a table say of claims: their JSON, at noon.
type policy struct{ *testing.T }

func (p policy) allow(name, claims string, rules ...authz.Requirement) {
	p.Helper()
	if err := p.judge(claims, rules); err != nil {
		p.Errorf("%s: %v, want allowed", name, err)
	}
}

func (p policy) deny(name, claims string, rules ...authz.Requirement) {
	p.Helper()
	if err := p.judge(claims, rules); !errors.Is(err, authz.ErrDenied) {
		p.Errorf("%s: %v, want denied", name, err)
	}
}

func (p policy) judge(claims string, rules []authz.Requirement) error {
	p.Helper()
	for _, r := range rules {
		if err := r.Check(); err != nil {
			p.Fatal(err)
		}
	}
	_, err := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: rules}}).Judge(person(p.T, claims), noon)
	return err
}

// person has claims decoded as a bearer's are.
func person(t testing.TB, claims string) *authz.Principal {
	t.Helper()
	who := &authz.Principal{Issuer: "main"}
	if err := json.Unmarshal([]byte(claims), &who.Claims); err != nil {
		t.Fatal(err)
	}
	return who
}

func require(claim string, anyOf ...any) authz.Requirement {
	return authz.Requirement{Claim: claim, AnyOf: anyOf}
}

func equals(claim string, value any) authz.Requirement {
	return authz.Requirement{Claim: claim, Equals: value}
}

func contains(claim string, values ...any) authz.Requirement {
	return authz.Requirement{Claim: claim, Contains: values}
}

func glob(claim string, patterns ...string) authz.Requirement {
	return authz.Requirement{Claim: claim, Glob: patterns}
}

func atLeast(claim string, n float64) authz.Requirement {
	return authz.Requirement{Claim: claim, AtLeast: &n}
}

func atMost(claim string, n float64) authz.Requirement {
	return authz.Requirement{Claim: claim, AtMost: &n}
}

func maxAge(claim string, age time.Duration) authz.Requirement {
	return authz.Requirement{Claim: claim, MaxAge: age}
}

func TestRules(t *testing.T) {
	p := policy{t}
	agents := require("groups", "agents", "leads")

	p.allow("no rules", `{}`)
	p.allow("a list with the value", `{"groups":["x","agents"]}`, agents)
	p.allow("a list with the other value", `{"groups":["leads"]}`, agents)
	p.allow("a string that is the value", `{"groups":"agents"}`, agents)
	p.deny("no claim", `{}`, agents)
	p.deny("null", `{"groups":null}`, agents)
	p.deny("an empty list", `{"groups":[]}`, agents)
	p.deny("a list of null", `{"groups":[null]}`, agents)
	p.deny("other values", `{"groups":["staff"]}`, agents)
	p.deny("a string that only begins so", `{"groups":"agents-of-others"}`, agents)
	p.deny("a string with the value among others", `{"groups":"x agents"}`, agents)
	p.deny("another case", `{"groups":["Agents"]}`, agents)
	p.deny("a claim's name in another case", `{"Groups":["agents"]}`, agents)
	p.deny("a number", `{"groups":7}`, agents)
	p.deny("an object", `{"groups":{"agents":true}}`, agents)
	p.deny("a list in a list", `{"groups":[["agents"]]}`, agents)

	p.allow("a true boolean", `{"active":true}`, require("active", true))
	p.deny("a false boolean", `{"active":false}`, require("active", true))
	p.deny("the word for true", `{"active":"true"}`, require("active", true))
	p.deny("true for the word", `{"active":true}`, require("active", "true"))
	p.deny("1 for true", `{"active":1}`, require("active", true))

	p.allow("a number that is the value", `{"level":7}`, require("level", 7.0))
	p.allow("a number in a list", `{"level":[1,7.0]}`, require("level", 7.0))
	p.deny("the word for a number", `{"level":"7"}`, require("level", 7.0))
	p.deny("a number for the word", `{"level":7}`, require("level", "7"))

	p.allow("both rules hold", `{"groups":["agents"],"active":true}`, agents, require("active", true))
	p.deny("only the first holds", `{"groups":["agents"]}`, agents, require("active", true))
	p.deny("only the second holds", `{"active":true}`, agents, require("active", true))

	roles := require("realm_access.roles", "phone")
	p.allow("a nested claim", `{"realm_access":{"roles":["phone"]}}`, roles)
	p.allow("a claim whose name has the dot", `{"realm_access.roles":["phone"]}`, roles)
	p.deny("the literal name goes first", `{"realm_access.roles":[],"realm_access":{"roles":["phone"]}}`, roles)
	p.deny("half the path", `{"realm_access":["phone"]}`, roles)
	p.deny("a path through a string", `{"realm_access":"roles"}`, roles)
	p.allow("a URL for a name", `{"https://example.com/roles":["phone"]}`, require("https://example.com/roles", "phone"))
	p.allow("a dotted name inside a path", `{"resource_access":{"my.client":{"roles":["phone"]}}}`,
		require("resource_access.my.client.roles", "phone"))
}

func TestRulesWithEquals(t *testing.T) {
	p := policy{t}
	acme := equals("tenant", "acme")
	p.allow("the text", `{"tenant":"acme"}`, acme)
	p.deny("no claim", `{}`, acme)
	p.deny("null", `{"tenant":null}`, acme)
	p.deny("another text", `{"tenant":"acme2"}`, acme)
	p.deny("another case", `{"tenant":"Acme"}`, acme)
	p.deny("a list of the text alone", `{"tenant":["acme"]}`, acme)
	p.deny("an object", `{"tenant":{"acme":"acme"}}`, acme)
	p.deny("a number", `{"tenant":7}`, acme)
	p.deny("a boolean", `{"tenant":true}`, acme)

	p.allow("the boolean", `{"active":false}`, equals("active", false))
	p.deny("a boolean that is missing is not false", `{}`, equals("active", false))
	p.deny("0 is not false", `{"active":0}`, equals("active", false))
	p.deny("an empty text is not false", `{"active":""}`, equals("active", false))

	account := equals("account", 9007199254740991.0)
	p.allow("the largest number", `{"account":9007199254740991}`, account)
	p.deny("the one before it", `{"account":9007199254740990}`, account)
	p.deny("the one after it", `{"account":9007199254740992}`, account)
	p.deny("the same digits as text", `{"account":"9007199254740991"}`, account)
	p.allow("a number written otherwise", `{"level":70e-1}`, equals("level", 7.0))
	p.allow("minus zero", `{"level":-0}`, equals("level", 0.0))
	p.allow("a fraction", `{"level":0.1}`, equals("level", 0.1))
	p.deny("a fraction close by", `{"level":0.100000000000001}`, equals("level", 0.1))
	p.allow("a nested claim", `{"org":{"tenant":"acme"}}`, equals("org.tenant", "acme"))
}

func TestRulesWithContains(t *testing.T) {
	p := policy{t}
	both := contains("groups", "agents", "voice")
	p.allow("all of them", `{"groups":["agents","voice"]}`, both)
	p.allow("in another order, among others", `{"groups":[7,null,"voice",{"a":[]},["x"],"agents"]}`, both)
	p.deny("one of them", `{"groups":["agents"]}`, both)
	p.deny("one of them twice", `{"groups":["agents","agents"]}`, both)
	p.deny("no claim", `{}`, both)
	p.deny("null", `{"groups":null}`, both)
	p.deny("an empty list", `{"groups":[]}`, both)
	p.deny("a text with both", `{"groups":"agents voice"}`, both)
	p.deny("a text is no list", `{"groups":"agents"}`, contains("groups", "agents"))
	p.deny("an object is no list", `{"groups":{"agents":true,"voice":true}}`, both)
	p.deny("a number", `{"groups":7}`, both)
	p.deny("a boolean", `{"groups":true}`, both)
	p.deny("lists in a list", `{"groups":[["agents"],["voice"]]}`, both)
	p.allow("numbers and booleans", `{"levels":[1,2,true]}`, contains("levels", 2.0, true))
	p.deny("the word for a number", `{"levels":["2"]}`, contains("levels", 2.0))
	p.allow("a nested claim", `{"realm_access":{"roles":["phone","desk"]}}`, contains("realm_access.roles", "desk", "phone"))
}

func TestRulesWithGlob(t *testing.T) {
	p := policy{t}
	staff := glob("email", "*@example.com", "*@*.example.org")
	p.allow("the first pattern", `{"email":"alice@example.com"}`, staff)
	p.allow("the second pattern", `{"email":"alice@eu.example.org"}`, staff)
	p.allow("nothing for the star", `{"email":"@example.com"}`, staff)
	p.allow("an entry of a list", `{"email":[7,"x","alice@example.com"]}`, staff)
	p.deny("a value that goes on", `{"email":"alice@example.com.evil.test"}`, staff)
	p.deny("a line that goes on", `{"email":"alice@example.com\n"}`, staff)
	p.deny("a dot is a dot", `{"email":"alice@exampleXcom"}`, staff)
	p.deny("another case", `{"email":"alice@Example.com"}`, staff)
	p.deny("no claim", `{}`, staff)
	p.deny("null", `{"email":null}`, staff)
	p.deny("an empty text", `{"email":""}`, staff)
	p.deny("an empty list", `{"email":[]}`, staff)
	p.deny("a list in a list", `{"email":[["alice@example.com"]]}`, staff)
	p.deny("an object", `{"email":{"alice@example.com":"alice@example.com"}}`, staff)

	p.allow("any text", `{"name":""}`, glob("name", "*"))
	p.deny("a number is no text", `{"name":7}`, glob("name", "*"))
	p.deny("a boolean is no text", `{"name":true}`, glob("name", "*"))
	p.deny("nothing is no text", `{}`, glob("name", "*"))
	p.allow("without a star", `{"name":"alice"}`, glob("name", "alice"))
	p.deny("without a star, more", `{"name":"alice2"}`, glob("name", "alice"))
	p.allow("stars in a row", `{"name":"ab"}`, glob("name", "a**b"))
	p.allow("a star over a line's end", `{"name":"a\nb"}`, glob("name", "a*b"))
	p.deny("no character for two", `{"name":"aba"}`, glob("name", "aba*aba"))
	p.allow("pieces in order", `{"name":"x-team-eu-lead-b"}`, glob("name", "*-team-*-lead-*"))
	p.deny("pieces out of order", `{"name":"x-lead-eu-team-b"}`, glob("name", "*-team-*-lead-*"))
	p.deny("pieces that overlap", `{"name":"aba"}`, glob("name", "*ab*ba*"))
	p.allow("a piece that comes early and again", `{"name":"abcabc"}`, glob("name", "*a*bc"))
	p.deny("nothing else is special", `{"name":"ab"}`, glob("name", "a?", "[a-z]*", "a.*", `a\*`, "^ab$", "{ab}"))
	p.allow("beyond ASCII", `{"name":"Zoë Müller"}`, glob("name", "Zoë M*ller"))
	p.deny("what would not end if every way were tried", `{"name":"`+strings.Repeat("a", 60_000)+`"}`,
		glob("name", strings.Repeat("*a", authz.MaxPatternStars-2)+"*b*a"))
}

func TestRulesOnHowWellSomebodySignedIn(t *testing.T) {
	p := policy{t}
	well := authz.Requirement{Claim: "acr", AnyOf: []any{"phr", "phrh"}}
	p.allow("well enough", `{"acr":"phr"}`, well)
	p.allow("better", `{"acr":"phrh"}`, well)
	p.deny("in another way", `{"acr":"1"}`, well)
	p.deny("better than any that is known", `{"acr":"phrhh"}`, well)
	p.deny("who knows how", `{}`, well)
}

func TestRulesWithNumbers(t *testing.T) {
	p := policy{t}
	p.allow("at least it", `{"age":18}`, atLeast("age", 18))
	p.allow("more", `{"age":18.5}`, atLeast("age", 18))
	p.allow("far more", `{"age":1.7976931348623157e308}`, atLeast("age", 18))
	p.deny("less", `{"age":17.999999}`, atLeast("age", 18))
	p.deny("far less", `{"age":-1e308}`, atLeast("age", 18))
	p.allow("at most it", `{"risk":-3}`, atMost("risk", -3))
	p.deny("more than at most", `{"risk":-2.9}`, atMost("risk", -3))
	p.allow("the largest", `{"n":9007199254740991}`, atLeast("n", authz.MaxNumber), atMost("n", authz.MaxNumber))
	p.deny("one above the largest", `{"n":9007199254740992}`, atMost("n", authz.MaxNumber))
	least, most := 1.0, 3.0
	between := authz.Requirement{Claim: "n", AtLeast: &least, AtMost: &most}
	p.allow("between", `{"n":2}`, between)
	p.deny("below", `{"n":0}`, between)
	p.deny("above", `{"n":4}`, between)
	p.allow("exactly", `{"n":3}`, authz.Requirement{Claim: "n", AtLeast: &most, AtMost: &most})
	for name, claims := range map[string]string{
		"no claim": `{}`, "null": `{"n":null}`, "text": `{"n":"2"}`, "boolean": `{"n":true}`,
		"list": `{"n":[2]}`, "object": `{"n":{"n":2}}`, "an empty text": `{"n":""}`,
	} {
		p.deny(name+" is not at least", claims, atLeast("n", -1))
		p.deny(name+" is not at most", claims, atMost("n", 3))
	}
	p.allow("a nested claim", `{"a":{"b.c":{"n":2}}}`, atLeast("a.b.c.n", 2))
}

func TestRulesWithMaxAge(t *testing.T) {
	p := policy{t}
	signedIn := maxAge("auth_time", 8*time.Hour)
	at := func(ago time.Duration) string {
		return fmt.Sprintf(`{"auth_time":%.3f}`, float64(noon.Add(-ago).UnixMilli())/1000)
	}
	p.allow("now", at(0), signedIn)
	p.allow("the whole age ago", at(8*time.Hour), signedIn)
	p.deny("a moment more", at(8*time.Hour+time.Millisecond), signedIn)
	p.allow("ahead by the clock skew", at(-authz.DefaultClockSkew), signedIn)
	p.deny("ahead by a moment more", at(-authz.DefaultClockSkew-time.Millisecond), signedIn)
	p.deny("the start of time", `{"auth_time":0}`, signedIn)
	p.deny("the end of time", `{"auth_time":253402300799}`, signedIn)
	p.deny("after the end of time", `{"auth_time":1e300}`, signedIn)
	p.deny("before time", `{"auth_time":-1}`, signedIn)
	p.deny("milliseconds", `{"auth_time":1700000000000}`, signedIn)
	p.deny("no claim", `{}`, signedIn)
	p.deny("null", `{"auth_time":null}`, signedIn)
	p.deny("digits", `{"auth_time":"1700000000"}`, signedIn)
	p.deny("a date", `{"auth_time":"2023-11-14T22:13:20Z"}`, signedIn)
	p.deny("a boolean", `{"auth_time":true}`, signedIn)
	p.deny("a list", `{"auth_time":[1700000000]}`, signedIn)
	p.deny("an object", `{"auth_time":{"auth_time":1700000000}}`, signedIn)
	p.allow("a nested claim", `{"session":{"auth_time":1700000000}}`, maxAge("session.auth_time", time.Minute))

	ahead := person(t, at(-time.Second))
	strict := authz.NewPolicy([]authz.Issuer{{Name: "main", ClockSkew: -1, Require: []authz.Requirement{signedIn}}})
	if _, err := strict.Judge(ahead, noon); !errors.Is(err, authz.ErrDenied) {
		t.Errorf("ahead, and no clock skew: %v, want denied", err)
	}
	if _, err := strict.Judge(ahead, noon.Add(time.Second)); err != nil {
		t.Errorf("the same a second later: %v, want allowed", err)
	}
}

// What JSON cannot say, but a Principal could.
func TestRulesMeetNoNumberThatIsNone(t *testing.T) {
	for _, n := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		who := &authz.Principal{Issuer: "main", Claims: map[string]any{"n": n}}
		for _, r := range []authz.Requirement{require("n", 7.0), equals("n", 7.0), contains("n", 7.0), glob("n", "*"), maxAge("n", time.Hour)} {
			if _, err := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{r}}}).Judge(who, noon); err == nil {
				t.Errorf("%v meets %+v", n, r)
			}
		}
	}
	nan := &authz.Principal{Issuer: "main", Claims: map[string]any{"n": math.NaN()}}
	for _, r := range []authz.Requirement{atLeast("n", -authz.MaxNumber), atMost("n", authz.MaxNumber)} {
		if _, err := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{r}}}).Judge(nan, noon); err == nil {
			t.Errorf("no number meets %+v", r)
		}
	}
}

func TestRulesOverAThousandGroups(t *testing.T) {
	p := policy{t}
	var groups []string
	for i := range 1000 {
		groups = append(groups, fmt.Sprintf(`"group-%04d"`, i))
	}
	claims := `{"groups":[` + strings.Join(groups, ",") + `]}`
	p.allow("the last of them", claims, require("groups", "agents", "group-0999"))
	p.deny("none of them", claims, require("groups", "agents", "group-1000"))
	p.allow("first and last of them", claims, contains("groups", "group-0999", "group-0000"))
	p.deny("one that is not there", claims, contains("groups", "group-0999", "group-1000"))
	p.allow("like the last of them", claims, glob("groups", "*-*999"))
	p.deny("like none of them", claims, glob("groups", "*-*9999"))
}

func TestRulesThatAreNoneAreRefused(t *testing.T) {
	for _, good := range []authz.Requirement{
		equals("a", ""), equals("a", false), equals("a", 0.0), require("a", "x", true, 1.5), contains("a", 1.0),
		glob("a", strings.Repeat("x", authz.MaxPatternBytes), strings.Repeat("*", authz.MaxPatternStars)),
		atLeast("a", -authz.MaxNumber), atMost("a", authz.MaxNumber), maxAge("a", authz.MinMaxAge), maxAge("a", authz.MaxMaxAge),
	} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	two, one := 2.0, 1.0
	for name, wrong := range map[string]authz.Requirement{
		"no claim":                 equals("", "x"),
		"no operator":              {Claim: "a"},
		"any of nothing":           {Claim: "a", AnyOf: []any{}},
		"contains nothing":         {Claim: "a", Contains: []any{}},
		"like nothing":             {Claim: "a", Glob: []string{}},
		"nothing beside something": {Claim: "a", Equals: "x", AnyOf: []any{}},
		"equals a list":            equals("a", []any{"x"}),
		"equals an int":            equals("a", 7),
		"any of a list":            require("a", []any{"x"}),
		"any of null":              require("a", nil),
		"any of an int":            require("a", "x", 7),
		"contains an object":       contains("a", map[string]any{}),
		"an empty pattern":         glob("a", "x", ""),
		"a long pattern":           glob("a", strings.Repeat("x", authz.MaxPatternBytes+1)),
		"a pattern of stars":       glob("a", strings.Repeat("*", authz.MaxPatternStars+1)),
		"equals no number":         equals("a", math.NaN()),
		"at least no number":       atLeast("a", math.NaN()),
		"at most infinity":         atMost("a", math.Inf(1)),
		"a number with a double":   equals("a", authz.MaxNumber+1.0),
		"at least that":            atLeast("a", -authz.MaxNumber-1),
		"nothing in between":       {Claim: "a", AtLeast: &two, AtMost: &one},
		"an age below zero":        maxAge("a", -time.Hour),
		"an age of nothing":        maxAge("a", time.Millisecond),
		"an age of years":          maxAge("a", authz.MaxMaxAge+1),
	} {
		if wrong.Check() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAPolicyDeniesTheIssuerItDoesNotKnow(t *testing.T) {
	policy := authz.NewPolicy([]authz.Issuer{{Name: "main", Mode: authz.ModeObserve}})
	if _, err := policy.Judge(&authz.Principal{Issuer: "other"}, noon); !errors.Is(err, authz.ErrDenied) {
		t.Errorf("got %v, want denied", err)
	}
	if verdicts := policy.Explain(&authz.Principal{Issuer: "other"}, noon); verdicts != nil {
		t.Errorf("got %v, want nothing to explain", verdicts)
	}
}

func TestRulesThatAreOnlyObserved(t *testing.T) {
	rules := []authz.Requirement{require("groups", "agents"), maxAge("auth_time", time.Hour)}
	for mode, enforced := range map[authz.Mode]bool{
		"": true, authz.ModeEnforce: true, authz.ModeObserve: false, "anything else": true,
	} {
		policy := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: rules, Mode: mode}})
		for claims, want := range map[string]string{
			`{"groups":"agents","auth_time":1700000000}`: "",
			`{"groups":"leads","auth_time":1700000000}`:  "groups: any_of [agents]",
			`{"groups":"agents"}`:                        "auth_time: max_age 1h",
			`{}`:                                         "groups: any_of [agents]",
		} {
			observed, err := policy.Judge(person(t, claims), noon)
			if denied := want != "" && enforced; errors.Is(err, authz.ErrDenied) != denied || denied && !strings.HasSuffix(err.Error(), ": "+want) {
				t.Errorf("mode %q, %s: %v, want denied %v for %q", mode, claims, err, denied, want)
			}
			if got := observed; !enforced && got != want || enforced && got != "" {
				t.Errorf("mode %q, %s: observed %q, want %q", mode, claims, got, want)
			}
		}
	}
}

// Rules are known by what the configuration says of them, and by nothing that a
// caller sends.
func TestEveryRuleIsExplained(t *testing.T) {
	least, most := 18.0, 65.5
	policy := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{
		require("groups", "agents", "team leads", true, 7.0),
		{Claim: "age", AtLeast: &least, AtMost: &most},
		contains("realm_access.roles", "phone"),
		glob("email", "*@example.com"),
		equals("https://example.com/verified", "true"),
		equals("account", 1700000000.0),
		maxAge("auth_time", 90*time.Minute),
		equals("two\nlines", "\xff"),
		require("long", strings.Repeat("ö", 500)),
	}}})
	got := policy.Explain(person(t, `{"age":70,"groups":["agents"],"email":"secret@example.com","auth_time":1699999999,"account":1}`), noon)
	want := []authz.Verdict{
		{Rule: `groups: any_of [agents "team leads" true 7]`, Met: true},
		{Rule: `age: at_least 18`, Met: true},
		{Rule: `age: at_most 65.5`, Met: false},
		{Rule: `realm_access.roles: contains [phone]`, Met: false},
		{Rule: `email: glob [*@example.com]`, Met: true},
		{Rule: `https://example.com/verified: equals "true"`, Met: false},
		{Rule: `account: equals 1700000000`, Met: false},
		{Rule: `auth_time: max_age 1h30m`, Met: true},
		{Rule: `"two\nlines": equals "\xff"`, Met: false},
		{Rule: `long: any_of ["` + strings.Repeat("ö", 104) + "…", Met: false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

func TestAPolicyIsOfItsOwn(t *testing.T) {
	values, patterns := []any{"agents"}, []string{"agents"}
	policy := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{
		{Claim: "groups", AnyOf: values, Contains: values, Glob: patterns},
	}}})
	values[0], patterns[0] = "leads", "leads"
	if _, err := policy.Judge(person(t, `{"groups":["agents"]}`), noon); err != nil {
		t.Errorf("changed from outside: %v", err)
	}
}

// handful is what a careful operator might ask.
func handful() *authz.Policy {
	return authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{
		require("groups", "agents", "leads"),
		glob("email", "*@example.com", "*@*.example.com"),
		equals("email_verified", true),
		atLeast("level", 2),
		maxAge("auth_time", 8*time.Hour),
		contains("realm_access.roles", "phone"),
	}}})
}

const handfulOfClaims = `{"groups":["staff","sales","agents"],"email":"alice@eu.example.com","email_verified":true,
	"level":3,"auth_time":1699990000,"realm_access":{"roles":["offline_access","phone"]}}`

func TestAJudgementTakesNoMemory(t *testing.T) {
	policy, who := handful(), person(t, handfulOfClaims)
	if n := testing.AllocsPerRun(100, func() { _, _ = policy.Judge(who, noon) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkJudge(b *testing.B) {
	policy, who := handful(), person(b, handfulOfClaims)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Judge(who, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzRules asks anything of any claims.
func FuzzRules(f *testing.F) {
	f.Add([]byte(`{"groups":["agents",true,{},[7],null]}`), "groups", "agents", "agents", 7.0, int64(time.Hour))
	f.Add([]byte(`{"a":{"b.c":"abcabc"}}`), "a.b.c", "*a*bc", "abcabc", 0.1, int64(-1))
	f.Add([]byte(`{"auth_time":1700000000,"x":"*"}`), "auth_time", "*", "", 1700000000.0, int64(8*time.Hour))
	f.Add([]byte(`{"x":"aba"}`), "x", "aba*aba", "aba", -1e308, int64(time.Second))
	f.Add([]byte(`{"x":["*a*b*"]}`), "x", "*a*b*", "ba", 1.0, int64(0))
	f.Fuzz(func(t *testing.T, claims []byte, claim, text, value string, n float64, age int64) {
		who := &authz.Principal{Issuer: "main"}
		if json.Unmarshal(claims, &who.Claims) != nil {
			return
		}
		implies := func(a, b authz.Requirement) {
			if metA, ok := met(t, who, a); ok && metA {
				if metB, ok := met(t, who, b); !ok || !metB {
					t.Fatalf("%s meets %+v and not %+v", claims, a, b)
				}
			}
		}
		met(t, who, maxAge(claim, time.Duration(age)))
		for _, operand := range []any{text, n, n > 0} {
			implies(equals(claim, operand), require(claim, operand))
			implies(contains(claim, operand), require(claim, operand))
		}
		if atLeast, ok := met(t, who, atLeast(claim, n)); ok {
			atMost, _ := met(t, who, atMost(claim, n))
			if same, _ := met(t, who, equals(claim, n)); same != (atLeast && atMost) {
				t.Fatalf("%s: at least %v is %v, at most is %v, equals is %v", claims, n, atLeast, atMost, same)
			}
		}
		if !strings.Contains(text, "*") {
			implies(glob(claim, text), require(claim, text))
		}
		who.Claims = map[string]any{claim: value}
		if like, ok := met(t, who, glob(claim, text)); ok && like != naiveGlob(text, value) {
			t.Fatalf("%q like %q: %v", value, text, like)
		}
	})
}

// met is whether a rule is met, if it is one.
func met(t *testing.T, who *authz.Principal, r authz.Requirement) (met, ok bool) {
	t.Helper()
	if r.Check() != nil {
		return false, false
	}
	policy := authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{r}}})
	verdicts := policy.Explain(who, noon)
	_, err := policy.Judge(who, noon)
	if len(verdicts) != 1 || verdicts[0].Met != (err == nil) || err != nil && !errors.Is(err, authz.ErrDenied) {
		t.Fatalf("%+v: %v and %v", r, verdicts, err)
	}
	if name := verdicts[0].Rule; !utf8.ValidString(name) || utf8.RuneCountInString(name) > 120 || strings.ContainsFunc(name, unicode.IsControl) {
		t.Fatalf("a rule called %q", name)
	}
	return err == nil, true
}

// naiveGlob tells for every beginning of the pattern which beginnings of the
// value it describes.
func naiveGlob(pattern, value string) bool {
	describes := make([]bool, len(value)+1)
	describes[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(value)+1)
		for j := range describes {
			switch {
			case pattern[i] == '*':
				next[j] = describes[j] || j > 0 && next[j-1]
			case j > 0 && pattern[i] == value[j-1]:
				next[j] = describes[j-1]
			}
		}
		describes = next
	}
	return describes[len(value)]
}
