package main

import (
	"fmt"
	"html"
	"os"
	"strings"
)

// bar is one value of a chart, in multiples of nginx's.
type bar struct {
	proxy string
	value float64
}

// group is the bars of one scenario.
type group struct {
	title string
	bars  []bar
}

// draw writes the chart, if one was asked for.
func (b *bench) draw(scenes []scenario, samples []sample) error {
	if b.chart == "" {
		return nil
	}
	return os.WriteFile(b.chart, []byte(chart(b.groups(scenes, samples))), 0o644)
}

// groups are the scenarios that nginx and another proxy have done, without those with access logs.
func (b *bench) groups(scenes []scenario, samples []sample) []group {
	var out []group
	for _, sc := range scenes {
		if sc.logs || sc.beside != "" {
			continue
		}
		value := func(s sample) float64 { return s.cpu() / s.Ops }
		if sc.idle {
			value = func(s sample) float64 { return s.Echoed }
		}
		g := group{title: sc.label()}
		for _, p := range []string{"fairlead", "haproxy", "nginx"} {
			f := figure{scenario: sc.name, peer: "nginx", value: value}
			if values := f.values(samples, p, b.serviceThreads()); len(values) > 0 {
				g.bars = append(g.bars, bar{p, median(values)})
			}
		}
		if len(g.bars) > 1 {
			out = append(out, g)
		}
	}
	return out
}

// label is the scenario in a few words.
func (sc scenario) label() string {
	what := map[string]string{"idle": "memory, idle ", "keep": "memory, idle HTTP/1.1", "echo": "echo ", "setup": "handshakes ", "broadcast": "broadcast ", "http": "HTTP/1.1 GET"}[sc.mode]
	switch {
	case sc.mode == "keep":
		return what
	case sc.mode == "http" && sc.tls:
		return "HTTPS GET"
	case sc.mode == "http" && sc.body > 0:
		return "HTTP/1.1 POST of " + bytesText(sc.body)
	case sc.mode == "http" && sc.answer > 0:
		return what + " of " + bytesText(sc.answer)
	case sc.mode == "http":
		return what
	case sc.tls:
		what += "wss"
	default:
		what += "ws"
	}
	if sc.mode == "echo" {
		what += fmt.Sprintf(", %d x %s", sc.connections, bytesText(sc.size))
	}
	if sc.depth > 1 {
		what += ", pipelined"
	}
	return what
}

const (
	chartWidth = 760
	chartLeft  = 215 // where bars begin
	chartUnit  = 235 // nginx's bar
	chartBar   = 9   // height of a bar
	chartMost  = 2.0 // longer bars are cut; their number is beside them
)

// chart is an SVG of horizontal bars. It brings its own background, for pages dark and light.
func chart(groups []group) string {
	colours := map[string]string{"fairlead": "#0f766e", "haproxy": "#94a3b8", "nginx": "#cbd5e1"}
	labels := map[string]string{"fairlead": "Fairlead", "haproxy": "HAProxy", "nginx": "nginx = 1"}
	var body strings.Builder
	y := 74
	for _, g := range groups {
		height := len(g.bars) * (chartBar + 2)
		fmt.Fprintf(&body, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLeft-10, y+height/2+4, html.EscapeString(g.title))
		for _, v := range g.bars {
			width := max(2, int(min(v.value, chartMost)*chartUnit))
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%d" height="%d" rx="1.5" fill="%s"/>`, chartLeft, y, width, chartBar, colours[v.proxy])
			weight, end := "normal", ""
			if v.proxy == "fairlead" {
				weight = "bold"
			}
			if v.value > chartMost {
				end = "&#8594; "
			}
			if v.proxy != "nginx" {
				fmt.Fprintf(&body, `<text x="%d" y="%d" font-size="10" font-weight="%s">%s%.2f</text>`, chartLeft+width+5, y+chartBar, weight, end, v.value)
			}
			body.WriteByte('\n')
			y += chartBar + 2
		}
		y += 9
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="system-ui,sans-serif" font-size="12" fill="#1e293b">`+"\n", chartWidth, y+12)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" rx="8" fill="#fff" stroke="#e2e8f0"/>`+"\n", chartWidth, y+12)
	out.WriteString(`<text x="20" y="28" font-size="15" font-weight="bold">CPU per operation, and memory, in multiples of nginx's (less is better)</text>` + "\n")
	for i, p := range []string{"fairlead", "haproxy", "nginx"} {
		x := chartLeft + i*100
		fmt.Fprintf(&out, `<rect x="%d" y="44" width="10" height="10" rx="2" fill="%s"/><text x="%d" y="53">%s</text>`+"\n", x, colours[p], x+15, labels[p])
	}
	fmt.Fprintf(&out, `<path d="M%d 66V%d" stroke="#64748b" stroke-dasharray="3 3"/>`+"\n", chartLeft+chartUnit, y)
	return out.String() + body.String() + "</svg>\n"
}
