package main

import (
	"errors"
	"math"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// openFiles reads the files that the configuration names, so that what is wrong
// with them is reported with everything else.
func (l *configLoader) openFiles() {
	l.openAPIKey()
	l.openUsers()
}

func (l *configLoader) openAPIKey() {
	const file = "telnyx.api_key_file"
	if !l.isSet(file) || l.broken[file] || l.isSet("TELNYX_API_KEY") {
		return
	}
	key, err := readAPIKey(l.config.Telnyx.APIKeyFile)
	if err != nil {
		l.refuse(file, l.at(file), err.Error())
	}
	l.config.Telnyx.APIKey = key
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
