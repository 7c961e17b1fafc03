package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// openFiles reads the files that the configuration names, so that what is wrong
// with them is reported with everything else.
func (l *configLoader) openFiles() {
	l.openAPIKeys()
	l.openSecret("dpop_nonce_key_file", l.config.DPoPNonceKeyFile, readNonceKey)
	l.openSecret("directory_password_file", l.config.DirectoryPasswordFile, readDatabasePassword)
	l.openSecret("cache_key_file", l.config.Cache.KeyFile, readSealingKeys)
	l.openSecret("cache_password_file", l.config.Cache.PasswordFile, readCachePassword)
	l.openSecret("admin.token_file", l.config.Admin.TokenFile, readAdminToken)
	l.openSecret("tracing.headers_file", l.config.Tracing.HeadersFile, readTracingHeaders)
	l.checkIssuerFiles()
	l.openCertificates()
	l.openUsers()
}

// openAPIKeys reads the keys that are in files.
func (l *configLoader) openAPIKeys() {
	const one, several = "telnyx.api_key_file", "telnyx.api_keys"
	c := &l.config.Telnyx
	switch {
	case c.APIKeyFile != "":
		c.APIKeys = []secret.Text{l.openSecret(one, c.APIKeyFile, readAPIKey)}
	case len(c.APIKeyFiles) > 0 && !l.broken[several]:
		c.APIKeys = make([]secret.Text, len(c.APIKeyFiles))
		for i, path := range c.APIKeyFiles {
			key, err := readAPIKey(path)
			if err != nil {
				l.refuse(several, l.at(several), err.Error()+inElement(i, len(c.APIKeyFiles)))
			}
			c.APIKeys[i] = key
		}
	}
}

// inElement says which of several files is meant.
func inElement(i, of int) string {
	if of == 1 {
		return ""
	}
	return fmt.Sprintf("; this is about element %d", i+1)
}

// openSecret reads the secret in the file that a key names, if it does.
func (l *configLoader) openSecret(key, path string, read readSecret) secret.Text {
	if path == "" || l.broken[key] {
		return secret.Text{}
	}
	text, err := read(path)
	if err != nil {
		l.refuse(key, l.at(key), err.Error())
	}
	return text
}

// checkIssuerFiles reads the issuers' secrets and files of keys, and keeps nothing
// of them.
func (l *configLoader) checkIssuerFiles() {
	for i, issuer := range l.config.Issuers {
		l.checkKeys(issuerKey(i, "keys"), issuer.KeyFile())
		issuer.asAuthz(func(field, path string, read readSecret) func() secret.Text {
			text := l.openSecret(issuerKey(i, field), path, read)
			return func() secret.Text { return text }
		})
	}
}

func (l *configLoader) checkKeys(key, path string) {
	if path == "" || l.broken[key] {
		return
	}
	if err := checkKeyFile(path); err != nil {
		l.refuse(key, l.at(key), err.Error())
	}
}

// checkKeyFile says why a file cannot be one of an issuer's keys, if so. The error
// shows neither the content nor the path.
func checkKeyFile(path string) error {
	err := authz.CheckKeyFile(path)
	if _, unread := errors.AsType[*fs.PathError](err); unread {
		return withoutPath(err)
	}
	return err
}

func (l *configLoader) openCertificates() {
	for prefix, files := range l.config.certificates() {
		l.openCertificate(prefix, files)
	}
}

func (l *configLoader) openCertificate(prefix string, files TLSConfig) {
	for _, f := range files.files() {
		if l.broken[prefix+f.field] {
			return
		}
	}
	if files.CertFile == "" {
		return
	}
	_, err := newCertificate(files, tls.RequireAndVerifyClientCert)
	for _, err := range eachOf(err) {
		if wrong, ok := errors.AsType[*certificateError](err); ok {
			l.refuse(prefix+wrong.field, l.at(prefix+wrong.field), wrong.err.Error())
		}
	}
}

// openUsers opens the users file, unless it is unclear whose names its keys
// begin with: then half of what it says would be wrong.
func (l *configLoader) openUsers() {
	if l.config.Directory.Kind != "file" || l.broken["directory"] || l.broken["issuers"] {
		return
	}
	var names []string
	for i, issuer := range l.config.Issuers {
		if l.broken[issuerKey(i, "")] || l.broken[issuerKey(i, "name")] {
			return
		}
		names = append(names, issuer.Name)
	}
	users, err := directory.OpenFile(l.config.Directory.Value, names)
	for _, err := range eachOf(err) {
		if flaw, ok := errors.AsType[directory.Problem](err); ok {
			l.refuse("directory", configPlace{where: flaw.Where, environ: true, line: math.MaxInt}, flaw.Text)
		} else {
			l.refuse("directory", l.at("directory"), withoutPath(err).Error())
		}
	}
	l.config.Users = users
}

// eachOf returns the errors that were joined.
func eachOf(err error) []error {
	if err == nil {
		return nil
	}
	type several interface {
		error
		Unwrap() []error
	}
	if all, ok := errors.AsType[several](err); ok {
		return all.Unwrap()
	}
	return []error{err}
}
