package roster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tokensvc/tokensvc/internal/directory/roster"
)

// readParts reads a list part by part, as read reads it whole.
func readParts(t *testing.T, list string, f roster.Format, most int) (all []string, parts int) {
	t.Helper()
	c := roster.NewCutter(strings.NewReader(list), f, most)
	for {
		p, err := c.Next()
		bad, isLine := errors.AsType[*roster.LineError](err)
		switch {
		case errors.Is(err, io.EOF):
			return all, parts
		case isLine:
			all = append(all, fmt.Sprintf("%d! %s", bad.Line, bad.Text))
			continue
		case err != nil:
			return append(all, "! "+err.Error()), parts
		case len(p.List) > most:
			t.Errorf("a part of %d bytes", len(p.List))
		}
		parts++
		for _, row := range readFrom(t, bytes.NewReader(p.List), f) {
			var line int
			_, _ = fmt.Sscan(strings.TrimRight(strings.Fields(row)[0], ":!"), &line)
			all = append(all, strings.Replace(row, fmt.Sprint(line), fmt.Sprint(p.Line(line)), 1))
		}
	}
}

// People fill many parts, with mistakes and empty lines between them.
func people(f roster.Format) string {
	var b strings.Builder
	b.WriteString("\xEF\xBB\xBF\n")
	if f == roster.CSV {
		b.WriteString("name,\"user\"\r\n")
	}
	for i := range 30_000 {
		switch {
		case i%7 == 0:
			b.WriteString("\r\n")
		case i == 5_000:
			b.WriteString(strings.Repeat("x", 2*roster.MaxLine) + "\n")
		case f == roster.NDJSON:
			fmt.Fprintf(&b, "{\"user\":\"u%d\",\"name\":\"N\"}\n", i)
		case i%11 == 0:
			fmt.Fprintf(&b, "\"N\n%d\",u\n", i)
		default:
			fmt.Fprintf(&b, "N,u%d\n", i)
		}
	}
	b.WriteString("x")
	return b.String()
}

func TestPartsAreAsGoodAsTheWhole(t *testing.T) {
	for _, f := range []roster.Format{roster.CSV, roster.NDJSON} {
		whole := read(t, people(f), f)
		inParts, parts := readParts(t, people(f), f, roster.MaxLine)
		if !slices.Equal(whole, inParts) || len(whole) < 25_000 {
			t.Errorf("format %d: %d lines whole and %d in parts are not the same", f, len(whole), len(inParts))
		}
		if parts < 3 {
			t.Errorf("format %d: %d parts", f, parts)
		}
		if _, parts := readParts(t, people(f)[:10_000], f, roster.MaxLine); parts != 1 {
			t.Errorf("format %d: a short list has %d parts", f, parts)
		}
	}
}

func TestAListThatCannotBeCut(t *testing.T) {
	got, _ := readParts(t, "user,KEY0123\nalice,\n", roster.CSV, 0)
	want(t, got, "! the first line must name the columns: line 1: column 2 is none of user, name, disabled, device, credential_id, sip_username")

	c := roster.NewCutter(io.MultiReader(strings.NewReader("user\nalice\nbo"), iotest.ErrReader(errGone)), roster.CSV, 0)
	if p, err := c.Next(); err != nil || string(p.List) != "user\nalice\n" {
		t.Errorf("%q and %v, want alice", p.List, err)
	}
	for range 2 {
		if _, err := c.Next(); !errors.Is(err, errGone) {
			t.Errorf("%v, want what the source said", err)
		}
	}
}
