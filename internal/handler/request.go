package handler

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses duplicate names

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
)

// evidence is what a request shows of who sends it, for authz to judge.
func (s *Service) evidence(ev *event, r *http.Request) authz.Evidence {
	e := authz.Evidence{
		Header: r.Header, Method: r.Method, Path: strings.TrimPrefix(r.URL.EscapedPath(), s.basePath),
		RemoteAddr: r.RemoteAddr, ProxyListener: ev.fromProxy,
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		e.Certificate = r.TLS.PeerCertificates[0]
	}
	return e
}

// maxBodyBytes bounds a request's body.
const maxBodyBytes = 4096

// membersOf reads the members of a body that is a JSON object, or nothing.
func membersOf(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	if r.ContentLength == 0 { // said to be empty, so the server has nothing to read
		return nil, nil
	}
	body, err := bodyOf(w, r, maxBodyBytes)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 { // sent in chunks, of which there was none
		return nil, nil
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, &requestError{outcome: UnsupportedMediaType}
	}
	var members map[string]json.RawMessage // a struct would pass over those we do not know
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, &requestError{outcome: BadRequest, detail: "The body must be one JSON object."}
	}
	return members, nil
}

// bodyOf reads a body of at most so many bytes.
func bodyOf(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &requestError{outcome: TooLarge}
	}
	if err != nil {
		return nil, &requestError{outcome: BadRequest, detail: "The body did not arrive whole."}
	}
	return body, nil
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

const deviceForm = "A device is 1 to 64 of a-z, 0-9, dot, underscore and dash."

// wantedInBody reads a body whose only member is device, or that is not there. It
// is strict, because a misspelt member would otherwise mean the default device, which is
// another phone.
func wantedInBody(w http.ResponseWriter, r *http.Request) (wanted, error) {
	members, err := membersOf(w, r)
	if err != nil {
		return wanted{}, err
	}
	device := directory.DefaultDevice
	for name, value := range members {
		if name != "device" {
			return wanted{}, &requestError{outcome: BadRequest, detail: "The body's only member is device."}
		}
		var label string
		err := json.Unmarshal(value, &label)
		if err == nil {
			device, err = directory.ParseDevice(label)
		}
		if err != nil {
			return wanted{}, &requestError{outcome: BadRequest, detail: deviceForm}
		}
	}
	return wanted{device: device}, nil
}

// prefersText reports whether the caller would rather have text/plain than JSON
// (RFC 9110 section 12.5.1). Whoever accepts neither gets JSON.
func prefersText(accept []string) bool {
	if !slices.ContainsFunc(accept, namesText) { // as good as always
		return false
	}
	text, json := 0.0, 0.0
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := quality(params["q"])
		switch media {
		case "text/plain":
			text = q
		case "application/json":
			json = q
		}
	}
	return text > json
}

// wantsFresh reports whether the caller wants no token that was kept: by no-cache (RFC
// 9111 section 5.2.1.4), or by fresh, an extension of ours (section 5.2.3). A browser
// sends no-cache by itself when a page fetches with cache: "no-store", or its developer
// has turned the cache off, and then Pragma with it (Fetch, HTTP-network-or-cache
// fetch): that is about what the browser keeps, and says nothing of us. fresh does, since
// nobody sends it but on purpose.
func wantsFresh(h http.Header) bool {
	byBrowser := len(h["Pragma"]) > 0
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			if strings.EqualFold(directive, "fresh") || !byBrowser && strings.EqualFold(directive, "no-cache") {
				return true
			}
		}
	}
	return false
}

func namesText(accept string) bool { return strings.Contains(strings.ToLower(accept), "text/plain") }

func quality(q string) float64 {
	if q == "" {
		return 1
	}
	f, err := strconv.ParseFloat(q, 64)
	if err != nil || f < 0 || f > 1 {
		return 0
	}
	return f
}
