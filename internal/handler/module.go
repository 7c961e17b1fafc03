package handler

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"
)

// module is the module for browsers.
type module struct {
	text []byte
	etag string
}

func newModule(text []byte) module {
	sum := sha256.Sum256(text)
	return module{text, `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`}
}

// serve serves the module. Like the contract it is no request for a token, and is
// neither logged nor counted. A browser may keep it and asks each time whether it
// is still the same: a page must never go on with the module of a service that is no
// longer there.
func (m module) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("ETag", m.etag)
	asked := &http.Request{Method: r.Method, Header: http.Header{"If-None-Match": r.Header["If-None-Match"]}} // never for a part of it
	http.ServeContent(w, asked, "", time.Time{}, bytes.NewReader(m.text))
}
