package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckSaysHowLongCertificatesLast(t *testing.T) {
	const day = 24 * time.Hour
	begun, end := time.Now(), time.Now().Add(30*day).Truncate(time.Second)
	long, short := newStandInsUntil(t, end), newStandInsUntil(t, end.Add(-10*day))
	folder := t.TempDir()
	files := TLSConfig{CertFile: filepath.Join(folder, "cert"), KeyFile: filepath.Join(folder, "key")}
	writeKey(t, files.KeyFile, long.privateKey)
	for _, row := range []struct {
		what, chain string
		now         time.Time
		ok          bool
		says        string
	}{
		{"before it begins", "", begun.Add(-2 * time.Hour), false, "valid only from "},
		{"all is well", "", end.Add(-15 * day), true, "valid until " + end.UTC().Format(time.RFC3339) + "."},
		{"two weeks before", "", end.Add(-13 * day), true, ", which is soon"},
		{"a moment before", "", end.Add(-time.Second), true, ", which is soon"},
		{"as it ends", "", end, false, ", which is over: callers turn away"},
		{"the chain ends first", short.certificate, end.Add(-10 * day), false, ", which is over: callers turn away"},
	} {
		writeKey(t, files.CertFile, long.certificate+row.chain)
		got := parts{cfg: Config{TLS: files}}.checkCertificates(row.now)
		if len(got) != 1 || got[0].Part != "tls.cert_file" || got[0].OK != row.ok || !strings.Contains(got[0].Detail+".", row.says) {
			t.Errorf("%s: %+v", row.what, got)
		}
	}
}
