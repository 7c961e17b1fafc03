package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/audit"
)

// lines are records of run A with these numbers.
func lines(numbers ...int) string {
	var b strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&b, `{"run":"A","n":%d,"what":"token"}`+"\n", n)
	}
	return b.String()
}

func TestWhatIsMissingShows(t *testing.T) {
	for name, row := range map[string]struct {
		files []string
		said  string // records, last, gaps, twice, torn
	}{
		"all":                       {[]string{lines(1, 2, 3)}, "3 to 3 [] 0 0"},
		"one":                       {[]string{lines(1, 3)}, "2 to 3 [{2 2}] 0 0"},
		"the beginning":             {[]string{lines(4, 5)}, "2 to 5 [{1 3}] 0 0"},
		"several":                   {[]string{lines(2, 3, 6, 9)}, "4 to 9 [{1 1} {4 5} {7 8}] 0 0"},
		"none, in files":            {[]string{lines(1, 2), lines(3)}, "3 to 3 [] 0 0"},
		"none, in the wrong order":  {[]string{lines(3, 4), lines(1, 2)}, "4 to 4 [] 0 0"},
		"none, backwards":           {[]string{lines(4, 3, 2, 1)}, "4 to 4 [] 0 0"},
		"a file twice":              {[]string{lines(1, 2), lines(1, 2, 3)}, "3 to 3 [] 2 0"},
		"a line that is torn":       {[]string{lines(1) + `{"run":"A","n":2,"wh` + "\n" + lines(2)}, "2 to 2 [] 0 1"},
		"a last line that is torn":  {[]string{lines(1) + `{"run":"A","n":2}`}, "1 to 1 [] 0 1"},
		"what is no record":         {[]string{lines(1) + "\n\nhello\n[]\nnull\n{}\n" + `{"run":"A","n":0}` + "\n" + `{"run":"A","n":-1}` + "\n"}, "1 to 1 [] 0 6"},
		"what is too long":          {[]string{lines(1) + strings.Repeat("x", 1<<20) + "\n" + lines(2)}, "2 to 2 [] 0 1"},
		"what is too long, and all": {[]string{lines(1) + strings.Repeat("x", 1<<20)}, "1 to 1 [] 0 1"},
	} {
		g := reading(t, row.files...)
		r := g.Runs()[0]
		if got := fmt.Sprintf("%d to %d %v %d %d", r.Records, r.Last(), r.Gaps(), r.Again, g.Torn); got != row.said {
			t.Errorf("%s: %s, want %s", name, got, row.said)
		}
	}
}

func TestRunsAreToldApart(t *testing.T) {
	g := reading(t, lines(1)+`{"run":"B","n":1,"what":"started","time":"T","version":"v"}`+"\n"+lines(2)+
		`{"run":"B","n":2,"what":"lost","count":5}`+"\n"+`{"run":"B","n":3,"what":"stopped"}`+"\n"+lines(3))
	a, b := g.Runs()[0], g.Runs()[1]
	if a.ID != "A" || a.Records != 3 || a.Stopped || a.Missing() != 0 {
		t.Errorf("%+v", a)
	}
	if b.ID != "B" || b.Records != 3 || !b.Stopped || b.Began != "T" || b.Version != "v" || b.Lost != 5 {
		t.Errorf("%+v", b)
	}
}

func TestDisorderIsBounded(t *testing.T) {
	var b strings.Builder
	for n := range 100_001 {
		fmt.Fprintf(&b, `{"run":"A","n":%d}`+"\n", 2*n+1)
	}
	var g audit.Reading
	if err := g.Read(strings.NewReader(b.String())); !errors.Is(err, audit.ErrScattered) {
		t.Errorf("%v, want %v", err, audit.ErrScattered)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	var g audit.Reading
	if err := g.Read(unreadable{}); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

type unreadable struct{}

func (unreadable) Read([]byte) (int, error) { return 0, errFull }
