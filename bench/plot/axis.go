package plot

import (
	"math"
	"strconv"
	"strings"
)

// axis maps values onto a stretch of the drawing.
type axis struct {
	low, high float64 // values at the ends
	from, to  float64 // where the ends are
	log       bool
	ticks     []float64
}

// linear is an axis from 0 to a round number that all values fit below.
func linear(most, from, to float64, wanted int) axis {
	step := roundUp(most / float64(wanted))
	a := axis{low: 0, from: from, to: to}
	for a.high < most || a.high == 0 {
		a.high += step
	}
	for v := 0.0; v <= a.high+step/2; v += step {
		a.ticks = append(a.ticks, v)
	}
	return a
}

// logarithmic is an axis between powers of ten.
func logarithmic(least, most, from, to float64) axis {
	a := axis{low: math.Pow(10, math.Floor(math.Log10(least))), from: from, to: to, log: true}
	a.high = math.Pow(10, math.Ceil(math.Log10(most)))
	if a.high == a.low {
		a.high *= 10
	}
	for v := a.low; v <= a.high*1.01; v *= 10 {
		a.ticks = append(a.ticks, v)
	}
	return a
}

func (a axis) at(v float64) float64 {
	share := (v - a.low) / (a.high - a.low)
	if a.log {
		share = math.Log(max(v, a.low)/a.low) / math.Log(a.high/a.low)
	}
	return a.from + share*(a.to-a.from)
}

// roundUp returns the next of 1, 2, 5, 10, 20, 50 and so on.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}

// Number writes a number as people do: 20000 as 20,000.
func Number(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if len(text) > 12 { // 0.30000000000000004
		text = strconv.FormatFloat(v, 'g', 3, 64)
	}
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
