package authz_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz"
)

func TestRules(t *testing.T) {
	require := func(claim string, anyOf ...any) authz.Requirement {
		return authz.Requirement{Claim: claim, AnyOf: anyOf}
	}
	agents := require("groups", "agents", "leads")
	allow := func(name, claims string, rules ...authz.Requirement) {
		t.Helper()
		if err := judge(t, claims, rules); err != nil {
			t.Errorf("%s: %v, want allowed", name, err)
		}
	}
	deny := func(name, claims string, rules ...authz.Requirement) {
		t.Helper()
		if err := judge(t, claims, rules); !errors.Is(err, authz.ErrDenied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
	}

	allow("no rules", `{}`)
	allow("a list with the value", `{"groups":["x","agents"]}`, agents)
	allow("a list with the other value", `{"groups":["leads"]}`, agents)
	allow("a string that is the value", `{"groups":"agents"}`, agents)
	deny("no claim", `{}`, agents)
	deny("null", `{"groups":null}`, agents)
	deny("an empty list", `{"groups":[]}`, agents)
	deny("other values", `{"groups":["staff"]}`, agents)
	deny("a string that only begins so", `{"groups":"agents-of-others"}`, agents)
	deny("a string with the value among others", `{"groups":"x agents"}`, agents)
	deny("another case", `{"groups":["Agents"]}`, agents)
	deny("a number", `{"groups":7}`, agents)
	deny("an object", `{"groups":{"agents":true}}`, agents)
	deny("a list in a list", `{"groups":[["agents"]]}`, agents)

	allow("a true boolean", `{"active":true}`, require("active", true))
	deny("a false boolean", `{"active":false}`, require("active", true))
	deny("the word for true", `{"active":"true"}`, require("active", true))
	deny("true for the word", `{"active":true}`, require("active", "true"))

	allow("both rules hold", `{"groups":["agents"],"active":true}`, agents, require("active", true))
	deny("only the first holds", `{"groups":["agents"]}`, agents, require("active", true))
	deny("only the second holds", `{"active":true}`, agents, require("active", true))

	roles := require("realm_access.roles", "phone")
	allow("a nested claim", `{"realm_access":{"roles":["phone"]}}`, roles)
	allow("a claim whose name has the dot", `{"realm_access.roles":["phone"]}`, roles)
	deny("the literal name goes first", `{"realm_access.roles":[],"realm_access":{"roles":["phone"]}}`, roles)
	deny("half the path", `{"realm_access":["phone"]}`, roles)
	deny("a path through a string", `{"realm_access":"roles"}`, roles)
	allow("a URL for a name", `{"https://example.com/roles":["phone"]}`, require("https://example.com/roles", "phone"))
	allow("a dotted name inside a path", `{"resource_access":{"my.client":{"roles":["phone"]}}}`,
		require("resource_access.my.client.roles", "phone"))
}

func judge(t *testing.T, claims string, rules []authz.Requirement) error {
	t.Helper()
	who := &authz.Principal{Issuer: "main"}
	if err := json.Unmarshal([]byte(claims), &who.Claims); err != nil {
		t.Fatal(err)
	}
	return authz.NewPolicy([]authz.Issuer{{Name: "main", Require: rules}}).Judge(who)
}

func TestAPolicyDeniesTheIssuerItDoesNotKnow(t *testing.T) {
	policy := authz.NewPolicy([]authz.Issuer{{Name: "main"}})
	if err := policy.Judge(&authz.Principal{Issuer: "other"}); !errors.Is(err, authz.ErrDenied) {
		t.Errorf("got %v, want denied", err)
	}
}
