package main

import (
	"os"
	"strings"
	"testing"
)

// What README says to paste is what dev prints where it listens by default.
func TestTheReadmePastesWhatDevPrints(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	w, err := startWorld(t.Context(), devFlags{page: "127.0.0.1:0", issuer: "127.0.0.1:0", telnyx: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	var out strings.Builder
	w.welcome(&out, "http://"+devListen, "http://"+devOpsListen)
	printed := strings.ReplaceAll(out.String(), w.issuer.Addr(), devIssuerListen)

	pasted := 0
	for line := range strings.Lines(string(readme)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "curl ") || !strings.Contains(line, devIssuerListen) {
			continue
		}
		pasted++
		if !strings.Contains(printed, "\n  "+line+"\n") {
			t.Errorf("README.md has\n%s\nand dev prints\n%s", line, printed)
		}
	}
	if pasted == 0 {
		t.Errorf("README.md has no line to paste that asks the issuer at %s", devIssuerListen)
	}
}
