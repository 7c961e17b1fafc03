package provisioning_test

import (
	"errors"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// BenchmarkDeviceOf is what a caller learns who puts ids of others into a path and takes
// the time: it must not differ by more than one run from the next.
func BenchmarkDeviceOf(b *testing.B) {
	w := newWorld(b)
	f := w.finder()
	w.mustFind(f, alice, phone)
	nobodys, err := telnyx.ParseCredentialID("6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e")
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct {
		name string
		id   telnyx.CredentialID
	}{
		{"another's", w.mustFind(f, "main:bob", phone)},
		{"nobody's", nobodys},
		{"no id", telnyx.CredentialID{}},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.DeviceOf(b.Context(), directory.Query{User: alice}, row.id); !errors.Is(err, directory.ErrNoCredential) {
					b.Fatal(err)
				}
			}
		})
	}
}
