// Package tokensvc holds the contract of the HTTP API, so that the binary can
// serve it and tests can hold the service to it.
package tokensvc

import _ "embed"

// OpenAPI is openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
