package main

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
)

// Of the picture, in pixels.
const (
	column, row = 62, 30 // of Grafana's grid of 24 columns
	gap, head   = 8, 56
	pageWidth   = 24*column + gap
)

const page = `<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #f4f5f5; font: 12px system-ui, sans-serif; color: #24292e; position: relative }
h1 { position: absolute; left: 12px; top: 10px; margin: 0; font-size: 20px } .from { position: absolute; right: 12px; top: 16px; color: #57606a }
.panel { position: absolute; background: #fff; border: 1px solid #dcdfe3; border-radius: 3px; box-sizing: border-box; padding: 6px 10px; overflow: hidden }
h2 { margin: 0 0 4px; font-size: 13px; font-weight: 600 }
.stat { position: absolute; inset: 28px 8px 8px; border-radius: 3px; color: #fff; font-size: 40px; font-weight: 600; display: flex; align-items: center; justify-content: center }
.legend span { margin-right: 12px; white-space: nowrap } .legend i { display: inline-block; width: 12px; height: 4px; margin-right: 4px; vertical-align: middle }
.legend { max-height: 32px; overflow: hidden }
.none { color: #57606a; padding-top: 50px; text-align: center; font-size: 15px }
.bar { display: grid; grid-template-columns: 170px 1fr; margin: 7px 0; align-items: center; font-size: 13px } .bar b { display: inline-block; height: 18px; margin-right: 8px; vertical-align: middle; border-radius: 2px }
svg text { font: 11px system-ui, sans-serif; fill: #57606a }
</style><body style="height:{{.Height}}px">
<h1>{{.Title}}</h1><div class="from">{{.From}}</div>
{{range .Panels}}<div class="panel" style="left:{{.Left}}px;top:{{.Top}}px;width:{{.Width}}px;height:{{.Height}}px"><h2>{{.Title}}</h2>{{.Body}}</div>
{{end}}`

type drawn struct {
	Left, Top, Width, Height int
	Title                    string
	Body                     template.HTML
}

// write writes the page of which the picture is made.
func write(w io.Writer, d dashboard, p prometheus) error {
	var panels []drawn
	for _, one := range d.Panels {
		g := one.GridPos
		box := drawn{
			Left: gap + g.X*column, Top: head + g.Y*row, Width: g.W*column - gap, Height: g.H*row - gap, Title: one.Title,
		}
		box.Body = template.HTML(one.body(p, box.Width-20, box.Height-36)) //nolint:gosec // escaped where it is made
		panels = append(panels, box)
	}
	return template.Must(template.New("").Parse(page)).Execute(w, map[string]any{
		"Title": d.Title, "Height": d.height(), "Panels": panels,
		"From": fmt.Sprintf("drawn from deploy/grafana/dashboard.json by bench/dashboard, not by Grafana; %.0f s, looked at every second", p.to.Sub(p.from).Seconds()),
	})
}

// height is that of the whole page.
func (d dashboard) height() int {
	end := 0
	for _, p := range d.Panels {
		end = max(end, p.GridPos.Y+p.GridPos.H)
	}
	return head + end*row + gap
}

func (p panel) body(of prometheus, width, height int) string {
	switch {
	case p.Type == "stat":
		return p.stat()
	case len(p.lines) == 0:
		return fmt.Sprintf(`<div class="none">%s</div>`, escape(or(p.FieldConfig.Defaults.NoValue, "nothing to show")))
	case p.Type == "bargauge":
		return p.bars(width)
	case p.Type == "state-timeline":
		return p.states(of, width, height)
	}
	return p.chart(of, width, height)
}

func (p panel) stat() string {
	text, colour := or(p.FieldConfig.Defaults.NoValue, "no data"), "#8e98a3"
	if len(p.lines) > 0 {
		value := p.lines[0].last()
		text, colour = p.FieldConfig.Defaults.text(value), shade(p.FieldConfig.Defaults.colour(value))
	}
	return fmt.Sprintf(`<div class="stat" style="background:%s">%s</div>`, colour, escape(text))
}

func (p panel) bars(width int) string {
	const names, numbers = 180, 70
	most := 0.0
	for _, l := range p.lines {
		most = max(most, l.last())
	}
	var b strings.Builder
	for _, l := range p.lines {
		long := float64(width-names-numbers) * l.last() / most
		fmt.Fprintf(&b, `<div class="bar"><span>%s</span><span><b style="width:%.0fpx;background:%s"></b>%s</span></div>`,
			escape(l.name), long, shade(p.FieldConfig.Defaults.colour(l.last())), p.FieldConfig.Defaults.text(l.last()))
	}
	return b.String()
}

// text writes a value in the field's unit.
func (f field) text(v float64) string {
	decimals := -1
	if f.Decimals != nil {
		decimals = *f.Decimals
	}
	switch {
	case f.Unit == "percentunit":
		return strconv.FormatFloat(100*v, 'f', decimals, 64) + " %"
	case f.Unit == "s" && v > 0 && v < 1:
		return strconv.FormatFloat(1000*v, 'g', 3, 64) + " ms"
	case f.Unit == "s" && v < 120:
		return strconv.FormatFloat(v, 'g', 3, 64) + " s"
	case f.Unit == "s":
		return strconv.FormatFloat(v/60, 'f', 0, 64) + " min"
	case decimals >= 0:
		return strconv.FormatFloat(v, 'f', decimals, 64)
	case math.Abs(v) >= 10_000:
		return strconv.FormatFloat(v/1000, 'g', 3, 64) + " K"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func shade(colour string) string {
	return map[string]string{"green": "#3a9d5d", "orange": "#d9822b", "red": "#c4384b"}[colour]
}

func escape(text string) string { return template.HTMLEscapeString(text) }

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
