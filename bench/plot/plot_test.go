package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/bench/plot"
)

func TestAChartShowsWhatItIsGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "chart.svg")
	err := plot.Write(
		path,
		plot.Chart{
			Title: "Users & tokens", X: "seconds", Y: "users", Bound: 12_000, BoundName: "most",
			Series: []plot.Series{{"come", []plot.Point{{0, 0}, {10, 10_000}}}, {"served", []plot.Point{{0, 0}, {35, 10_000}}}},
		},
		plot.Chart{Title: "Latency", X: "per second", Y: "ms", LogY: true, Series: []plot.Series{{"p50", []plot.Point{{1, 0.2}, {2, 40}}}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Users &amp; tokens", ">served<", ">most<", ">15,000<", ">0.1<", ">100<", "prefers-color-scheme: dark", "M76.0 248.0L"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("it has no %s", want)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(string(content))); err == nil; {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("it is not XML: %v", err)
	}
}

func TestAChartWithoutLinesIsRefused(t *testing.T) {
	for n, ok := range []bool{false, true, true, true, false} {
		if err := plot.SVG(io.Discard, plot.Chart{Series: make([]plot.Series, n)}); (err == nil) != ok {
			t.Errorf("%d lines: %v", n, err)
		}
	}
}
