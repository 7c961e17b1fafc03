// Package web holds what runs in a browser, so that the binary can serve it.
package web

import _ "embed"

// Client is the module client/client.js, as it is published.
//
//go:embed client/client.js
var Client []byte
