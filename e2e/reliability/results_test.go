package reliability_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// results are what all rows found.
type results struct {
	mu    sync.Mutex
	order []row // as they stand in the code, a chapter at a time
	found map[row]result
	told  []string // sentences about what is no row
}

// tell adds a sentence.
func (r *results) tell(sentence string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, sentence)
}

// row names one: the test, and the fault.
type row struct{ chapter, fault string }

func (r *results) expect(expected row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = append(r.order, expected)
}

func (r *results) add(at row, found result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found = map[row]result{}
	}
	r.found[at] = found
}

// Between these lines of the document is what is written by the program.
const (
	tableBegins = "<!-- from here on written by `make reliability` -->\n"
	tableEnds   = "<!-- until here -->\n"
)

// writeInto replaces the table in a document.
func (r *results) writeInto(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for a table", path)
	}
	return os.WriteFile(path, []byte(before+tableBegins+r.table()+tableEnds+after), 0o644)
}

func (r *results) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\nEach fault lasted %v, on %s.\n", *faultLasts, machine())
	slices.Sort(r.told)
	for _, sentence := range r.told {
		fmt.Fprintf(&b, "\n- %s", sentence)
	}
	if len(r.told) > 0 {
		b.WriteByte('\n')
	}
	chapter := ""
	slices.SortStableFunc(r.order, func(a, b row) int { return strings.Compare(a.chapter, b.chapter) })
	for _, expected := range r.order {
		found, ok := r.found[expected]
		if !ok {
			continue
		}
		if expected.chapter != chapter {
			chapter = expected.chapter
			fmt.Fprintf(&b, "\n### %s\n\n%s\n%s\n", spaced(strings.TrimPrefix(chapter, "Test")),
				"| fault | who has a token | whose token is due | who has none | slowest answer to who has one | normal again after | mints in the busiest second then | goroutines | descriptors | MiB, most |",
				"|---|---|---|---|---|---|---|---|---|---|")
		}
		mark := ""
		if found.failed {
			mark = "✗ "
		}
		fmt.Fprintf(&b, "| %s%s | %v | %v | %v | %s | %s | %d | %s | %s | %d |\n",
			mark, found.fault, found.seen[holders], found.seen[agers], found.seen[newcomers],
			brief(found.slowest), brief(found.normalAfter), found.mints,
			change(found.before[0].goroutines, found.after[0].goroutines), change(found.before[0].descriptors, found.after[0].descriptors),
			found.after[0].peak)
	}
	return b.String() + "\n"
}

// String lists them, the most frequent first.
func (c counts) String() string {
	var names []string
	for name := range c {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c[a] != c[b] {
			return c[b] - c[a]
		}
		return strings.Compare(a, b)
	})
	var said []string
	for _, name := range names {
		said = append(said, fmt.Sprintf("%d %s", c[name], name))
	}
	if len(said) == 0 {
		return "–"
	}
	return strings.Join(said, ", ")
}

func brief(d time.Duration) string {
	switch {
	case d == 0:
		return "at once"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func change(before, after int) string { return fmt.Sprintf("%d → %d", before, after) }

// spaced makes words of a name such as TelnyxIsThere.
func spaced(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// machine names the processor.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	name, _, _ := strings.Cut(rest, "\n")
	return fmt.Sprintf("%s, %d of its cores", strings.Trim(name, "\t: "), strings.Count(string(text), "processor\t:"))
}
