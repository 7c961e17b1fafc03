package main

import (
	"fmt"
	"math"
	"strings"
)

const (
	foot, margin = 18, 52 // for the axes
	legendHigh   = 36
)

// palette is told apart by most who see few colours.
var palette = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8f7a00", "#555555"}

// A frame maps times and values onto a chart.
type frame struct {
	from, to, most      float64
	width, height, tall float64 // tall is without the axis below
}

func newFrame(of prometheus, width, height int, most float64) frame {
	return frame{
		from: float64(of.from.UnixMilli()) / 1000, to: float64(of.to.UnixMilli()) / 1000, most: most,
		width: float64(width), height: float64(height), tall: float64(height - foot),
	}
}

func (f frame) x(at float64) float64 { return margin + (f.width-margin-4)*(at-f.from)/(f.to-f.from) }

func (f frame) y(value float64) float64 { return f.tall - (f.tall-8)*value/f.most }

// times draws the axis of time, which is counted from the start.
func (f frame) times(b *strings.Builder) {
	const apart = 15.0
	for s := 0.0; s <= f.to-f.from; s += apart {
		x := f.x(f.from + s)
		fmt.Fprintf(b, `<path d="M%.1f 4V%.1f" stroke="#e8eaed"/><text x="%.1f" y="%.0f" text-anchor="middle">%.0f s</text>`, x, f.tall, x, f.height-4, s)
	}
}

// chart draws lines, one upon the other if they are stacked.
func (p panel) chart(of prometheus, width, height int) string {
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	below := map[float64]float64{} // what is stacked at a time so far
	upper := make([][]point, len(p.lines))
	lower := make([][]point, len(p.lines))
	most := 0.0
	for i, l := range p.lines {
		for _, v := range l.points {
			base := below[v.at]
			if stacked {
				below[v.at] = base + v.value
				lower[i] = append(lower[i], point{v.at, base})
				v.value += base
			}
			upper[i] = append(upper[i], v)
			most = max(most, v.value)
		}
	}
	f := newFrame(of, width, height-legendHigh, round(most))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg width="%d" height="%d">`, width, height-legendHigh)
	f.times(&b)
	for i := range 5 {
		value := f.most * float64(i) / 4
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#e8eaed"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			margin, f.y(value), width-4, margin-6, f.y(value)+4, escape(p.FieldConfig.Defaults.text(value)))
	}
	for i := range p.lines {
		colour := palette[i%len(palette)]
		if stacked {
			fmt.Fprintf(&b, `<path d="%s" fill="%s" fill-opacity=".45"/>`, f.area(upper[i], lower[i]), colour)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.6"/>`, f.path(upper[i]), colour)
	}
	b.WriteString(`</svg><div class="legend">`)
	for i, l := range p.lines {
		fmt.Fprintf(&b, `<span><i style="background:%s"></i>%s</span>`, palette[i%len(palette)], escape(l.name))
	}
	return b.String() + `</div>`
}

// path is a line that has a gap where there is no value for more than two seconds.
func (f frame) path(points []point) string {
	var b strings.Builder
	for i, p := range points {
		letter := "L"
		if i == 0 || p.at-points[i-1].at > 2 {
			letter = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", letter, f.x(p.at), f.y(p.value))
	}
	return b.String()
}

// area is what is between two lines over the same times, in stretches without gaps.
func (f frame) area(upper, lower []point) string {
	var b strings.Builder
	for start := 0; start < len(upper); {
		end := start + 1
		for end < len(upper) && upper[end].at-upper[end-1].at <= 2 {
			end++
		}
		b.WriteString(f.path(upper[start:end]))
		for i := end - 1; i >= start; i-- {
			fmt.Fprintf(&b, "L%.1f %.1f", f.x(lower[i].at), f.y(lower[i].value))
		}
		b.WriteString("Z")
		start = end
	}
	return b.String()
}

// states draws when each line was 1, and when not.
func (p panel) states(of prometheus, width, height int) string {
	const names, thick = 160, 16
	f := newFrame(of, width-names, height, 1)
	apart := f.tall / float64(len(p.lines))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg width="%d" height="%d">`, width, height)
	fmt.Fprintf(&b, `<g transform="translate(%d 0)">`, names-margin)
	f.width += margin
	f.times(&b)
	b.WriteString(`</g>`)
	for i, l := range p.lines {
		y := apart * (float64(i) + .5)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, names-8, y+4, escape(l.name))
		for start := 0; start < len(l.points); {
			end := start + 1
			for end < len(l.points) && l.points[end].value == l.points[start].value {
				end++
			}
			from, until := f.x(l.points[start].at), f.x(l.points[end-1].at+1)
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`,
				from+names-margin, y-thick/2, min(until, f.width)-from, thick, shade(p.FieldConfig.Defaults.colour(l.points[start].value)))
			start = end
		}
	}
	return b.String() + `</svg>`
}

// round is a round number that is no less.
func round(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 6, 8} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}
