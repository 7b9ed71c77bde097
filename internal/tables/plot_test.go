// SPDX-License-Identifier: MIT

package tables

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Measures of the plot in pixels.
const (
	plotWidth   = 1000
	plotLeft    = 64  // where the axes begin
	plotRight   = 984 // and end
	plotTop     = 96  // of the first panel
	panelHeight = 260
	panelGap    = 108
	rttGap      = 18 // between the groups of one RTT
)

// plotStyle has colours of medium brightness and no background, so that the plot is readable on
// white and on dark.
const plotStyle = `<style>
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #777f88 }
.head { font-size: 15px; font-weight: 600 }
.mid { text-anchor: middle }
.end { text-anchor: end }
.grid { stroke: #777f88; stroke-opacity: .28 }
.axis { stroke: #777f88 }
.over { stroke-dasharray: 2 4 }
</style>
`

// plotColours are those of the modes, in their order.
var plotColours = []string{"#8b939c", "#b58900", "#2f81f7", "#2da44e", "#e36209", "#d6409f", "#8e6be8"}

// panel is one diagram: a slot for each path, in it a mark for each mode, on a logarithmic scale.
type panel struct {
	top       float64
	low, high float64 // of the scale
	columns   int
}

// y returns where a value is, within the panel.
func (p panel) y(value float64) float64 {
	share := math.Log(value/p.low) / math.Log(p.high/p.low)
	return p.top + panelHeight*(1-min(max(share, 0), 1))
}

// slot returns where the i-th path's slot begins and how wide it is.
func (p panel) slot(i int) (left, width float64) {
	width = (plotRight - plotLeft - rttGap*float64(len(rtts)-1)) / float64(len(paths()))
	return plotLeft + float64(i)*width + rttGap*float64(i/len(losses)), width
}

// x returns where the mark of path i and column j is.
func (p panel) x(i, j int) float64 {
	left, width := p.slot(i)
	return left + width*(float64(j)+1)/float64(p.columns+1)
}

// plot returns docs/tables.svg.
func (r *results) plot() string {
	latencies := panel{top: plotTop, low: 7, high: 20000, columns: len(modes())}
	goodputs := panel{top: plotTop + panelHeight + panelGap, low: 0.05, high: 20, columns: len(bulkModes())}
	height := goodputs.top + panelHeight + 64
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%g" viewBox="0 0 %d %g" role="img" aria-labelledby="title">`+"\n",
		plotWidth, height, plotWidth, height)
	b.WriteString("<title id=\"title\">Latency and goodput by network and settings, simulated</title>\n" + plotStyle)
	legend(&b)
	latencies.frame(&b, "Latency of a 100-byte message every 33 ms, p50 to p99 in ms (dotted: does not carry the load)",
		[]float64{10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000})
	for i := range paths() {
		for j, l := range r.latency[i] {
			latencies.latencyMark(&b, i, j, l)
		}
	}
	goodputs.frame(&b, "Goodput of a bulk transfer over a line of 20 Mbit/s, in Mbit/s", []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20})
	for i := range paths() {
		for j, bits := range r.goodput[i] {
			x, y, colour := goodputs.x(i, j), goodputs.y(bits/1e6), plotColours[j]
			fmt.Fprintf(&b, `<path class="cell" d="M%.1f %.1fV%.1f" stroke="%s" stroke-width="6"/>`+"\n", x, goodputs.top+panelHeight, y, colour)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// latencyMark draws the span from p50 to p99 with a dot at each end.
func (p panel) latencyMark(b *strings.Builder, i, j int, l latency) {
	x, colour := p.x(i, j), plotColours[j]
	if l.overload {
		fmt.Fprintf(b, `<path class="cell over" d="M%.1f %.1fV%.1f" stroke="%s" stroke-width="3"/>`+"\n", x, p.top+panelHeight, p.top, colour)
		return
	}
	low, high := p.y(float64(l.p50.Milliseconds())), p.y(float64(l.p99.Milliseconds()))
	fmt.Fprintf(b, `<g class="cell" fill="%s"><path d="M%.1f %.1fV%.1f" stroke="%s" stroke-width="3"/><circle cx="%.1f" cy="%.1f" r="2.5"/><circle cx="%.1f" cy="%.1f" r="4.5"/></g>`+"\n",
		colour, x, low, high, colour, x, low, x, high)
}

// frame draws the title, the scale and the names of the slots.
func (p panel) frame(b *strings.Builder, title string, ticks []float64) {
	bottom := p.top + panelHeight
	fmt.Fprintf(b, `<text class="head" x="%d" y="%g">%s</text>`+"\n", plotLeft, p.top-16, html.EscapeString(title))
	for _, v := range ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text class="end" x="%d" y="%.1f">%g</text>`+"\n",
			plotLeft, p.y(v), plotRight, plotLeft-8, p.y(v)+4, v)
	}
	for i, path := range paths() {
		left, width := p.slot(i)
		fmt.Fprintf(b, `<path class="axis" d="M%.1f %gH%.1f"/><text class="mid" x="%.1f" y="%g">%g %%</text>`+"\n",
			left+2, bottom, left+width-2, left+width/2, bottom+18, path.loss*100)
		if i%len(losses) == 0 {
			fmt.Fprintf(b, `<text class="mid" x="%.1f" y="%g">RTT %d ms, loss</text>`+"\n",
				left+width*float64(len(losses))/2, bottom+38, path.rtt.Milliseconds())
		}
	}
}

func legend(b *strings.Builder) {
	const each = 132
	for j, m := range bulkModes() {
		x := plotLeft + j*each
		fmt.Fprintf(b, `<rect x="%d" y="24" width="14" height="14" rx="3" fill="%s"/><text x="%d" y="36">%s</text>`+"\n",
			x, plotColours[j], x+20, html.EscapeString(m.name))
	}
}
