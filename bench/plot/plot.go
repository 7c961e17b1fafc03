// Package plot draws lines into an SVG that reads well in light and in dark.
package plot

import (
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// A Chart has lines over a common axis.
type Chart struct {
	Title  string
	X, Y   string // what the axes are, with the unit
	LogY   bool
	Series []Series
	// Bound is a value of Y that is drawn as a line of its own, with its name; 0 is none.
	Bound     float64
	BoundName string
}

// A Series is a line and its name. There can be three in a chart.
type Series struct {
	Name   string
	Points []Point
}

// A Point is one of a line.
type Point struct{ X, Y float64 }

const (
	width       = 760
	height      = 300 // of one chart
	left, right = 76, 32
	top, bottom = 58, 52
	maxSeries   = 3
)

// The colours are told apart by most who see few, and have the contrast that text
// needs with the background they are on.
const style = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.back { fill: #ffffff } .grid { stroke: #d1d9e0 } .axis { stroke: #59636e }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round }
.s0 { stroke: #0550ae } .s1 { stroke: #bc4c00 } .s2 { stroke: #6639ba } .bound { stroke: #59636e; stroke-dasharray: 6 5; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.back { fill: #0d1117 } .grid { stroke: #30363d } .axis { stroke: #9198a1 }
.s0 { stroke: #79c0ff } .s1 { stroke: #ffa657 } .s2 { stroke: #d2a8ff } .bound { stroke: #9198a1 }
}
</style>
`

// SVG draws charts, one below the other.
func SVG(w io.Writer, charts ...Chart) error {
	var b strings.Builder
	tall := height * len(charts)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", width, tall, width, tall)
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", width, tall)
	for i, c := range charts {
		if len(c.Series) == 0 || len(c.Series) > maxSeries {
			return errors.New("plot: a chart has one to three lines")
		}
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*height)
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Chart) draw(b *strings.Builder) {
	x, y := c.axes()
	fmt.Fprintf(b, `<text class="title" x="%d" y="24">%s</text>`+"\n", left, html.EscapeString(c.Title))
	for _, v := range y.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y.at(v), width-right, left-8, y.at(v)+4, Number(v))
	}
	for _, v := range x.ticks {
		fmt.Fprintf(b, `<path class="axis" d="M%.1f %dv5"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(v), height-bottom, x.at(v), height-bottom+19, Number(v))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%d %dH%d"/>`+"\n", left, height-bottom, width-right)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-12, html.EscapeString(c.X))
	fmt.Fprintf(b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, html.EscapeString(c.Y))
	c.lines(b, x, y)
}

// lines draws them, and says above which is which.
func (c Chart) lines(b *strings.Builder, x, y axis) {
	at := float64(left)
	legend := func(class, name string) {
		fmt.Fprintf(b, `<path class="line %s" d="M%.0f 42h22"/><text x="%.0f" y="46">%s</text>`+"\n", class, at, at+28, html.EscapeString(name))
		at += 28 + 7.4*float64(len([]rune(name))) + 22
	}
	if c.Bound > 0 {
		fmt.Fprintf(b, `<path class="line bound" d="M%d %.1fH%d"/>`+"\n", left, y.at(c.Bound), width-right)
	}
	for i, s := range c.Series {
		class := fmt.Sprintf("s%d", i)
		fmt.Fprintf(b, `<path class="line %s" d="`, class)
		for j, p := range s.Points {
			letter := "L"
			if j == 0 {
				letter = "M"
			}
			fmt.Fprintf(b, "%s%.1f %.1f", letter, x.at(p.X), y.at(p.Y))
		}
		b.WriteString("\"/>\n")
		legend(class, s.Name)
	}
	if c.Bound > 0 {
		legend("bound", c.BoundName)
	}
}

func (c Chart) axes() (x, y axis) {
	mostX, mostY, leastY := 0.0, c.Bound, math.Inf(1)
	for _, s := range c.Series {
		for _, p := range s.Points {
			mostX, mostY, leastY = max(mostX, p.X), max(mostY, p.Y), min(leastY, p.Y)
		}
	}
	x = linear(mostX, left, width-right, 9)
	if c.LogY && leastY > 0 && !math.IsInf(leastY, 1) {
		return x, logarithmic(leastY, mostY, height-bottom, top)
	}
	return x, linear(mostY, height-bottom, top, 5)
}
