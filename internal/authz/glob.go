package authz

import "strings"

// Bounds of a pattern.
const (
	MaxPatternBytes = 256
	MaxPatternStars = 8
)

// A glob is a pattern cut at its stars. A star stands for any run of
// characters, none included, and everything else for itself.
//
// The pieces between the stars are looked for one after the other, each as far
// to the left as it goes. That never has to be taken back, as it would with
// question marks or classes, so no pattern makes a value take longer than about
// its length.
type glob []string

func newGlob(pattern string) glob { return strings.Split(pattern, "*") }

func isPattern(s string) bool {
	return s != "" && len(s) <= MaxPatternBytes && strings.Count(s, "*") <= MaxPatternStars
}

// matches reports whether all of s is what the pattern says.
func (g glob) matches(s string) bool {
	last := len(g) - 1
	if last == 0 {
		return s == g[0]
	}
	s, begins := strings.CutPrefix(s, g[0])
	s, ends := strings.CutSuffix(s, g[last])
	if !begins || !ends {
		return false
	}
	for _, piece := range g[1:last] {
		at := strings.Index(s, piece)
		if at < 0 {
			return false
		}
		s = s[at+len(piece):]
	}
	return true
}
