package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// plots are the page's, by their files' names.
func (r *report) plots() map[string]string {
	out := map[string]string{}
	if r.has(firstPacketLine.id) {
		out[rulesPlot] = rulesChart(r.line(firstPacketLine.id))
	}
	if r.has(requestsLine.id) && r.has(connectsLine.id) && r.has(streamLine.id) {
		out[tcpPlot] = barChart([]*result{r.line(requestsLine.id), r.line(connectsLine.id), r.line(streamLine.id)})
	}
	return out
}

// The plots are read on light and on dark pages: lines and letters are of a colour
// that the reader's scheme chooses, subjects of ones that can be told on both.
const (
	plotWidth, plotHeight   = 720.0, 400.0
	left, right, top, below = 70.0, 190.0, 40.0, 50.0
	style                   = `<style>
 text { font: 12px system-ui, sans-serif; fill: #24292f }
 .grid { stroke: #8884; stroke-width: 1 }
 .axis { stroke: #888; stroke-width: 1 }
 .title { font-size: 14px; font-weight: 600 }
 @media (prefers-color-scheme: dark) { text { fill: #d0d7de } }
</style>
`
)

var colours = []string{"#2f81f7", "#d29922", "#db61a2", "#3fb950", "#a371f7", "#f0883e"}

func svg(title, body string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">
%s<text class="title" x="%.0f" y="22">%s</text>
%s</svg>
`, plotWidth, plotHeight, html.EscapeString(title), style, left, html.EscapeString(title), body)
}

// curve is a subject's added time over the number of rules.
type curve struct {
	name   string
	x, y   []float64
	dashed bool
}

// rulesChart has both axes in powers of ten.
func rulesChart(l *result) string {
	var curves []*curve
	named := map[string]*curve{}
	for i := range l.Series {
		s := &l.Series[i]
		if s.Size == 0 || l.baseline(s) == nil {
			continue
		}
		name := s.Subject
		if s.Subject == weirSubject {
			name += ", " + s.Kind
		}
		c := named[name]
		if c == nil {
			c = &curve{name: name, dashed: s.Subject != weirSubject}
			named[name], curves = c, append(curves, c)
		}
		if added := median(l.added(s)); added >= 1 {
			c.x, c.y = append(c.x, float64(s.Size)), append(c.y, added)
		}
	}
	xs, ys := newScale(left, plotWidth-right), newScale(plotHeight-below, top)
	for _, c := range curves {
		for i := range c.x {
			xs.include(c.x[i])
			ys.include(c.y[i])
		}
	}
	var b strings.Builder
	for e := xs.low; e <= xs.high; e++ {
		x := xs.at(math.Pow(10, e))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			x, top, x, plotHeight-below, x, plotHeight-below+18, number(math.Pow(10, e)))
	}
	for e := ys.low; e <= ys.high; e++ {
		y := ys.at(math.Pow(10, e))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y, plotWidth-right, y, left-6, y+4, number(math.Pow(10, e)))
	}
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">rules</text><text x="%.1f" y="%.1f">ns</text>`+"\n",
		(left+plotWidth-right)/2, plotHeight-12, 12.0, top+4)
	for i, c := range curves {
		colour, dash := colours[i%len(colours)], ""
		if c.dashed {
			dash = ` stroke-dasharray="6 3"`
		}
		var points []string
		for j := range c.x {
			points = append(points, fmt.Sprintf("%.1f,%.1f", xs.at(c.x[j]), ys.at(c.y[j])))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, xs.at(c.x[j]), ys.at(c.y[j]), colour)
		}
		y := top + 10 + 20*float64(i)
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/><line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="2"%s/><text x="%.1f" y="%.1f">%s</text>`+"\n",
			strings.Join(points, " "), colour, dash, plotWidth-right+10, y, plotWidth-right+34, y, colour, dash,
			plotWidth-right+40, y+4, html.EscapeString(c.name))
	}
	return svg("First packet of a connection: added time over the number of rules", b.String())
}

// scale maps values to places, by their logarithm, over whole powers of ten.
type scale struct{ from, to, low, high float64 }

func newScale(from, to float64) *scale {
	return &scale{from: from, to: to, low: math.Inf(1), high: math.Inf(-1)}
}

func (s *scale) include(v float64) {
	s.low, s.high = min(s.low, math.Floor(math.Log10(v))), max(s.high, math.Ceil(math.Log10(v)))
}

func (s *scale) at(v float64) float64 {
	if s.high <= s.low {
		return s.from
	}
	return s.from + (s.to-s.from)*(math.Log10(v)-s.low)/(s.high-s.low)
}

// barChart has a group for each line: the subjects' rates as a part of their
// baseline's.
func barChart(lines []*result) string {
	var b strings.Builder
	most := 1.0
	for _, l := range lines {
		for i := range l.Series {
			if ratio := median(l.ratio(&l.Series[i])); !math.IsNaN(ratio) {
				most = max(most, ratio)
			}
		}
	}
	at := func(v float64) float64 { return plotHeight - below - (plotHeight-below-top)*v/(most*1.1) }
	for v := 0.0; v <= most*1.05; v += 0.25 {
		class := "grid"
		if v == 0 || v == 1 {
			class = "axis"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%.2f</text>`+"\n",
			class, left, at(v), plotWidth-right, at(v), left-6, at(v)+4, v)
	}
	group := (plotWidth - right - left) / float64(len(lines))
	var legend []string
	for g, l := range lines {
		var bars []*series
		for i := range l.Series {
			if l.baseline(&l.Series[i]) != nil {
				bars = append(bars, &l.Series[i])
			}
		}
		width := group * 0.8 / float64(max(1, len(bars)))
		for i, s := range bars {
			ratio := median(l.ratio(s))
			x := left + group*(float64(g)+0.1) + width*float64(i)
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle">%.2f</text>`+"\n",
				x, at(ratio), width-3, at(0)-at(ratio), colours[i%len(colours)], x+width/2-1.5, at(ratio)-4, ratio)
			if g == 0 {
				legend = append(legend, s.Subject)
			}
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			left+group*(float64(g)+0.5), plotHeight-below+18, html.EscapeString(l.Unit))
	}
	for i, name := range legend {
		y := top + 10 + 20*float64(i)
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/><text x="%.1f" y="%.1f">%s</text>`+"\n",
			plotWidth-right+10, y-8, colours[i%len(colours)], plotWidth-right+28, y+2, html.EscapeString(name))
	}
	return svg("TCP: rate, as a part of that with an empty program", b.String())
}
