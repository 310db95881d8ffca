package main

import (
	"fmt"
	svg "html/template"
	"io"
)

// panel is a row of bars that are compared with each other.
type panel struct {
	Title string
	Bars  []bar
}

// bar is one receiver in a panel.
type bar struct {
	Name  string
	Value float64
}

// panelOf draws the medians of what several runs of each receiver showed.
func panelOf(title string, r *result, of func(measurement) float64) panel {
	p := panel{Title: title}
	for _, name := range r.names {
		p.Bars = append(p.Bars, bar{name, r.spread(name, of).median})
	}
	return p
}

// Measures of the picture, in pixels.
const (
	chartWidth = 720
	barLeft    = 90
	barRight   = 620
	barHeight  = 18
	barGap     = 6
	titleSpace = 44
)

func (p panel) height() int { return titleSpace + len(p.Bars)*(barHeight+barGap) }

var chart = svg.Must(svg.New("").Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="13" fill="#1f2328">
<rect width="100%" height="100%" fill="#ffffff"/>
{{- range .Texts}}
<text x="{{.X}}" y="{{.Y}}"{{if .Title}} font-weight="bold"{{end}}>{{.Text}}</text>
{{- end}}
{{- range .Rects}}
<rect x="{{.X}}" y="{{.Y}}" width="{{.Width}}" height="{{.Height}}" rx="2" fill="{{.Fill}}"/>
{{- end}}
</svg>
`))

type chartText struct {
	X, Y  int
	Text  string
	Title bool
}

type chartRect struct {
	X, Y, Width, Height int
	Fill                string
}

// draw writes the panels below each other as SVG.
func draw(out io.Writer, panels []panel) error {
	var drawn struct {
		Width, Height int
		Texts         []chartText
		Rects         []chartRect
	}
	drawn.Width = chartWidth
	y := 0
	for _, p := range panels {
		most := 0.0
		for _, b := range p.Bars {
			most = max(most, b.Value)
		}
		drawn.Texts = append(drawn.Texts, chartText{16, y + 28, p.Title, true})
		for i, b := range p.Bars {
			top := y + titleSpace + i*(barHeight+barGap)
			length := max(1, int(b.Value/most*(barRight-barLeft)))
			fill := "#8c959f"
			if b.Name == theRelay {
				fill = "#0b57d0"
			}
			drawn.Rects = append(drawn.Rects, chartRect{barLeft, top, length, barHeight, fill})
			drawn.Texts = append(drawn.Texts, chartText{16, top + 14, b.Name, false},
				chartText{barLeft + length + 8, top + 14, number(b.Value), false})
		}
		y += p.height()
	}
	drawn.Height = y + 16
	if err := chart.Execute(out, drawn); err != nil {
		return fmt.Errorf("the picture: %w", err)
	}
	return nil
}
