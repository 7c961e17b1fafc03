package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/web"
)

const (
	maxWish = 4 << 10 // bytes of a request for a misfortune
	// wishTime is for what a misfortune takes: longest is to see a credential deleted.
	wishTime = 10 * time.Second
)

// fileTypes are the kinds of files that the softphone is made of.
var fileTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// devPage is the softphone, and what it cannot do by itself.
type devPage struct {
	listener    net.Listener
	server      *http.Server
	flags       *devFlags
	said        pageConfig
	policy      string
	misfortunes *misfortunes
}

// pageConfig is what the softphone is told at /config.json.
type pageConfig struct {
	Service     string       `json:"service"`
	Issuer      string       `json:"issuer"`
	Gateway     string       `json:"gateway"`
	ClientID    string       `json:"client_id"`
	Scope       string       `json:"scope"`
	SDK         *string      `json:"sdk"`         // its path, if it is there
	SDKMissing  *string      `json:"sdk_missing"` // or what to do
	People      []pagePerson `json:"people"`
	Misfortunes []misfortune `json:"misfortunes"`
}

type pagePerson struct {
	Name  string `json:"name"`
	Shows string `json:"shows"`
}

// newPage makes the softphone of a service that listens.
func (w *world) newPage(s *service) (*devPage, error) {
	books, err := openServer(urlOf(s.operators), w.adminToken(), serverTrust{})
	if err != nil {
		return nil, err
	}
	p := &devPage{
		listener: w.page, flags: &w.flags, misfortunes: newMisfortunes(w.telnyx, books),
		said: pageConfig{
			Service: urlOf(s.callers[0]), Issuer: w.issuer.URL(), Gateway: w.telnyx.GatewayURL(), ClientID: devClientID, Scope: devScope,
		},
	}
	for _, someone := range people {
		p.said.People = append(p.said.People, pagePerson{someone.name, someone.shows})
	}
	// Scripts are the page's own and the service's module; the page talks to what it
	// is a page of, and to nobody else.
	p.policy = fmt.Sprintf("default-src 'none'; script-src 'self' %[1]s; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "+
		"connect-src 'self' %[1]s %[2]s %[3]s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", p.said.Service, p.said.Issuer, p.said.Gateway)
	p.server = s.newServer("page", p.guarded(p.routes()))
	return p, nil
}

// beside serves the page while run does, which is stopped if the page cannot be
// served.
func (p *devPage) beside(ctx context.Context, run func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			stop(fmt.Errorf("the softphone's page: %w", err))
		}
	}()
	err := run(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return err
}

func (p *devPage) close() error {
	return errors.Join(p.server.Close(), p.misfortunes.books.close())
}

func (p *devPage) url() string { return "http://" + p.listener.Addr().String() }

func (p *devPage) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { p.serveFile(w, "index.html") })
	mux.HandleFunc("GET /{file}", func(w http.ResponseWriter, r *http.Request) { p.serveFile(w, r.PathValue("file")) })
	mux.HandleFunc("GET /telnyx.mjs", p.serveSDK)
	mux.HandleFunc("GET /config.json", p.serveConfig)
	mux.HandleFunc("POST /misfortunes/{name}", p.serveMisfortune)
	return mux
}

// guarded answers only to the page's own name: by another, which its owner points to
// this machine, a page of somebody else's would be of the same origin. localhost is
// ours too, but not where the issuer sends people back to.
func (p *devPage) guarded(next http.Handler) http.Handler {
	own := p.listener.Addr().String()
	_, port, _ := net.SplitHostPort(own)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", p.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		switch {
		case r.Host == own:
			next.ServeHTTP(w, r)
		case r.Host == net.JoinHostPort("localhost", port) && r.Method == http.MethodGet:
			http.Redirect(w, r, p.url()+"/", http.StatusFound)
		default:
			http.Error(w, "this is "+p.url()+", and nothing else", http.StatusMisdirectedRequest)
		}
	})
}

func (p *devPage) serveFile(w http.ResponseWriter, name string) {
	kind, known := fileTypes[path.Ext(name)]
	content, err := fs.ReadFile(web.Demo, name)
	if err != nil || !known {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(content) //nolint:gosec // one of the files that are built in
}

// serveSDK serves Telnyx's SDK from where npm has put it. It is not ours to embed.
func (p *devPage) serveSDK(w http.ResponseWriter, r *http.Request) {
	if missing := p.flags.sdkMissing(); missing != "" {
		http.Error(w, missing, http.StatusNotFound)
		return
	}
	f, err := os.Open(p.flags.sdk)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", fileTypes[".js"])
	http.ServeContent(w, r, "", time.Time{}, f)
}

// serveConfig tells what is where, and which misfortunes have struck: anybody, or the
// user who is asked about.
func (p *devPage) serveConfig(w http.ResponseWriter, r *http.Request) {
	said := p.said
	if missing := p.flags.sdkMissing(); missing != "" {
		said.SDKMissing = &missing
	} else {
		at := "/telnyx.mjs"
		said.SDK = &at
	}
	said.Misfortunes = p.misfortunes.list(r.URL.Query().Get("user"))
	answerPage(w, http.StatusOK, said)
}

// wish is whom a misfortune is to happen to, and whether it begins or ends: without a
// word it is the other of the two.
type wish struct {
	User string `json:"user"`
	On   *bool  `json:"on"`
}

// readWish reads one from our own page, and from nobody else's: status is 200, or why
// says what is wrong.
func (p *devPage) readWish(w http.ResponseWriter, r *http.Request) (_ wish, status int, why string) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Origin") != p.url():
		return wish{}, http.StatusForbidden, "Only the softphone's own page may ask for a misfortune."
	case kind != "application/json":
		return wish{}, http.StatusUnsupportedMediaType, "A misfortune is asked for in JSON."
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWish))
	var asked wish
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&asked)
	}
	if err != nil || !knownPerson(asked.User) {
		return wish{}, http.StatusBadRequest, "A misfortune needs one of the people: " + names() + "."
	}
	return asked, http.StatusOK, ""
}

// serveMisfortune has one happen, or end.
func (p *devPage) serveMisfortune(w http.ResponseWriter, r *http.Request) {
	wish, status, why := p.readWish(w, r)
	if status != http.StatusOK {
		sorry(w, status, why)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), wishTime)
	defer cancel()
	switch err := p.misfortunes.strike(ctx, r.PathValue("name"), wish.User, wish.On); {
	case errors.Is(err, errNoMisfortune):
		sorry(w, http.StatusNotFound, "There is no such misfortune.")
	case errors.Is(err, errNoUser):
		sorry(w, http.StatusConflict, wish.User+" is not in the directory, so this cannot happen to them.")
	case err != nil:
		sorry(w, http.StatusBadGateway, "The admin API says: "+strings.TrimSuffix(oneLine(err.Error()), ".")+".")
	default:
		answerPage(w, http.StatusOK, map[string][]misfortune{"misfortunes": p.misfortunes.list(wish.User)})
	}
}

// sorry says in a sentence why something was not done.
func sorry(w http.ResponseWriter, status int, sentence string) {
	answerPage(w, status, map[string]string{"error": sentence})
}

func answerPage(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	sayJSON(w, v)
}
