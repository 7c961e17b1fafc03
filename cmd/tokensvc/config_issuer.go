package main

import (
	"github.com/tokensvc/tokensvc/internal/authz"
)

func asSource(into *authz.Source) field {
	return asOne(into, oneText, "bearer, header:NAME or cookie:NAME, with a header that has no other meaning", func(s string) (authz.Source, error) {
		source, err := authz.ParseSource(s)
		if err != nil {
			return source, errUnexpected
		}
		return source, nil
	})
}

// asHeaders takes a mapping of claims to headers; authz says which headers will
// do.
func asHeaders(into *map[string]string) field {
	f := field{shape: aMapping, expects: "a mapping of claims to headers, each a text", current: func() any { return *into }}
	f.accept = func(v value) (flaws []flaw) {
		headers := map[string]string{}
		for i := 0; i+1 < len(v.node.Content); i += 2 {
			claim, header := v.node.Content[i], v.node.Content[i+1]
			_, twice := headers[claim.Value]
			if twice || !isPlainText(claim) || !isPlainText(header) {
				flaws = append(flaws, f.flawAt(claim, errUnexpected))
			}
			headers[claim.Value] = header.Value
		}
		if len(headers) == 0 {
			flaws = append(flaws, f.flawAt(v.node, errUnexpected))
		}
		if len(flaws) == 0 {
			*into = headers
		}
		return flaws
	}
	return f
}
