package main

import (
	"crypto/tls"
	"time"
)

// soon is when a certificate that ends is worth a word: whoever renews it by itself
// has done so by then, with a certificate of 90 days.
const soon = 14 * 24 * time.Hour

// checkCertificates looks at how long the certificates last that the listeners have.
func (p parts) checkCertificates(now time.Time) []checked {
	var all []checked
	for prefix, files := range p.cfg.certificates() {
		if files.CertFile != "" {
			all = append(all, checkCertificate(prefix+"cert_file", files, now))
		}
	}
	return all
}

func checkCertificate(part string, files TLSConfig, now time.Time) checked {
	c, err := newCertificate(files, tls.RequireAndVerifyClientCert)
	if err != nil { // since it was loaded, a moment ago
		return amiss(part, err.Error(), "put a certificate there that fits the key_file")
	}
	end := c.end()
	until := "valid until " + end.UTC().Format(time.RFC3339)
	switch begin := c.current.Load().Certificates[0].Leaf.NotBefore; {
	case now.Before(begin):
		return amiss(part, "valid only from "+begin.UTC().Format(time.RFC3339), "see that this machine's clock is right, or put a certificate there that is valid")
	case !now.Before(end):
		return amiss(part, until+", which is over: callers turn away", "put a certificate there that is valid: it is taken up without a restart")
	case end.Sub(now) < soon:
		return inOrder(part, until+", which is soon")
	}
	return inOrder(part, until)
}
