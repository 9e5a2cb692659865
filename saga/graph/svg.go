package graph

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// Progress is how far an instance came. The zero value draws a definition alone.
type Progress struct {
	// ID, Status and Compensation stand above the picture.
	ID                   string
	Status, Compensation machine.Status
	// Rows are the runs of its states.
	Rows []*machine.Row
}

const style = `
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2933;text-anchor:middle}
.small{font-size:11px;fill:#52606d}.title{font-size:15px;font-weight:600;text-anchor:start}.left{text-anchor:start}
.box{fill:#fff;stroke:#52606d;stroke-width:1.4}.undo{stroke-dasharray:5 3}
.edge{fill:none;stroke:#7b8794;stroke-width:1.4}.catch{stroke:#c0392b;stroke-dasharray:2 3}.dashed{stroke:#9b59b6;stroke-dasharray:6 4}
.SU{fill:#d9f2e0;stroke:#1e8449}.FA{fill:#fadbd8;stroke:#c0392b}.UN{fill:#fdebd0;stroke:#ca6f1e}.RU{fill:#d6eaf8;stroke:#2471a3}.SK{fill:#eceff1;stroke:#78909c}
.never{opacity:.55}.label{fill:#fff;fill-opacity:.85}
`

// SVG draws a machine.
func SVG(m *statelang.Machine, p Progress) []byte {
	d := &drawing{layout: arrange(m), runs: map[string][]*machine.Row{}, known: p.ID != "" || len(p.Rows) > 0}
	for _, r := range p.Rows {
		name, _ := r.State()
		if s := m.States[name]; s != nil && s.Implicit() { // stands in no picture
			continue
		}
		d.runs[name] = append(d.runs[name], r)
	}
	const head = 44
	width := max(d.width, 420)
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label=%s>`,
		width, d.height+head, width, d.height+head, quote("state machine "+m.Name))
	d.b.WriteString("\n<style>" + style + "</style>\n<defs>")
	d.b.WriteString(`<marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="#7b8794"/></marker>`)
	fmt.Fprintf(&d.b, "</defs>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n")
	d.head(m, p)
	fmt.Fprintf(&d.b, "<g transform=\"translate(0 %d)\">\n", head)
	backs := 0
	for _, e := range d.edges {
		if e.back {
			backs++
		}
		d.edge(e, backs)
	}
	for _, n := range d.nodes {
		d.node(n)
	}
	for _, e := range d.edges {
		d.label(e)
	}
	d.b.WriteString("</g>\n</svg>\n")
	return []byte(d.b.String())
}

type drawing struct {
	*layout
	b     strings.Builder
	runs  map[string][]*machine.Row
	known bool
}

func quote(s string) string { return `"` + html.EscapeString(s) + `"` }

func (d *drawing) head(m *statelang.Machine, p Progress) {
	title := m.Name
	if m.Version != "" {
		title += " " + m.Version
	}
	fmt.Fprintf(&d.b, `<text class="title" x="%d" y="26">%s</text>`, margin, html.EscapeString(title))
	if d.known {
		line := p.ID + "  " + string(p.Status)
		if p.Compensation != "" {
			line += ", compensation " + string(p.Compensation)
		}
		fmt.Fprintf(&d.b, `<text class="small left" x="%d" y="44">%s</text>`, margin, html.EscapeString(strings.TrimSpace(line)))
	}
	d.b.WriteByte('\n')
}

// short cuts a text to n characters.
func short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// exceptions names what a Catch takes, by the last parts of the class names.
func exceptions(classes []string) string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c[strings.LastIndexByte(c, '.')+1:]
	}
	return strings.Join(names, ", ")
}

func (d *drawing) node(n *node) {
	if n.start {
		fmt.Fprintf(&d.b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" fill=\"#1f2933\"/>\n", n.x, n.y)
		return
	}
	s := n.state
	class, note := "box", detail(s)
	if s.ForCompensation {
		class += " undo"
	}
	if runs := d.runs[s.Name]; len(runs) > 0 {
		class += " " + worst(runs)
		note = progress(runs)
	} else if d.known && s.IsTask() && s.Type != statelang.ScriptTask {
		class += " never"
	}
	fmt.Fprintf(&d.b, `<g><title>%s</title>`, html.EscapeString(tooltip(s, d.runs[s.Name])))
	switch s.Type {
	case statelang.Choice:
		fmt.Fprintf(&d.b, `<path class=%s d="M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fz"/>`, quote(class),
			n.x, n.y-n.h/2, n.x+n.w/2, n.y, n.x, n.y+n.h/2, n.x-n.w/2, n.y)
	case statelang.Succeed, statelang.Fail:
		fmt.Fprintf(&d.b, `<rect class=%s x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.1f"/>`, quote(class), n.x-n.w/2, n.y-n.h/2, n.w, n.h, n.h/2)
	case statelang.SubStateMachine:
		fmt.Fprintf(&d.b, `<rect class=%s x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, quote(class), n.x-n.w/2, n.y-n.h/2, n.w, n.h)
		fmt.Fprintf(&d.b, `<path class="edge" d="M%.1f %.1fv%.1fM%.1f %.1fv%.1f"/>`, n.x-n.w/2+7, n.y-n.h/2, n.h, n.x+n.w/2-7, n.y-n.h/2, n.h)
	case statelang.CompensationTrigger:
		fmt.Fprintf(&d.b, `<path class=%s d="M%.1f %.1fh%.1fl14 %.1fl-14 %.1fh-%.1fl-14 -%.1fz"/>`, quote(class),
			n.x-n.w/2+14, n.y-n.h/2, n.w-28, n.h/2, n.h/2, n.w-28, n.h/2)
	default:
		fmt.Fprintf(&d.b, `<rect class=%s x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="7"/>`, quote(class), n.x-n.w/2, n.y-n.h/2, n.w, n.h)
	}
	if note == "" {
		fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f">%s</text>`, n.x, n.y+4.5, html.EscapeString(short(s.Name, 24)))
	} else {
		fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f">%s</text>`, n.x, n.y-3, html.EscapeString(short(s.Name, 24)))
		fmt.Fprintf(&d.b, `<text class="small" x="%.1f" y="%.1f">%s</text>`, n.x, n.y+13, html.EscapeString(short(note, 28)))
	}
	d.b.WriteString("</g>\n")
}

// detail is the second line of a state.
func detail(s *statelang.State) string {
	switch s.Type {
	case statelang.ServiceTask:
		text := s.ServiceName + "." + s.ServiceMethod
		if s.ServiceType != "" && s.ServiceType != "SpringBean" {
			text = s.ServiceMethod
		}
		if s.Loop != nil {
			text += " each"
		}
		return text
	case statelang.ScriptTask:
		return s.ScriptType
	case statelang.SubStateMachine:
		return s.StateMachineName
	case statelang.Fail:
		return s.ErrorCode
	case statelang.CompensationTrigger:
		if s.Name != s.Type {
			return "compensates"
		}
	case statelang.CompensateSubMachine:
		return "compensates the machine"
	}
	return ""
}

func tooltip(s *statelang.State, runs []*machine.Row) string {
	text := s.Name + " (" + s.Type + ")"
	if s.Comment != "" && s.Comment != s.Name {
		text += "\n" + s.Comment
	}
	for _, r := range runs {
		text += "\n" + r.ID + " " + r.Name + " " + string(r.Status)
		if r.Failure != nil {
			text += " " + r.Failure.Error()
		}
	}
	return text
}

// worst is the status that a state is coloured with.
func worst(runs []*machine.Row) string {
	found := map[machine.Status]bool{}
	for _, r := range runs {
		if !r.Superseded {
			found[r.Status] = true
		}
	}
	for _, s := range []machine.Status{machine.Running, machine.Unknown, machine.Failed, machine.Skipped} {
		if found[s] {
			return string(s)
		}
	}
	return string(machine.Succeeded)
}

func progress(runs []*machine.Row) string {
	text := worst(runs)
	if len(runs) > 1 {
		text += " ×" + strconv.Itoa(len(runs))
	}
	last := runs[len(runs)-1]
	if last.Compensation != "" {
		text += ", undone " + string(last.Compensation)
	}
	if last.Failure != nil && last.Status != machine.Succeeded {
		text += " " + exceptions([]string{last.Failure.Class})
	}
	return text
}

func (d *drawing) edge(e *edge, backs int) {
	class := "edge"
	switch e.kind {
	case "catch":
		class += " catch"
	case "undo":
		class += " dashed"
	}
	d.b.WriteString(`<path class=` + quote(class) + ` marker-end="url(#a)" d="`)
	switch {
	case e.kind == "undo" && e.from.layer == e.to.layer:
		side := 1.0
		if e.to.x < e.from.x {
			side = -1
		}
		fmt.Fprintf(&d.b, "M%.1f %.1fL%.1f %.1f", e.from.x+side*e.from.w/2, e.from.y, e.to.x-side*e.to.w/2, e.to.y)
	case e.back:
		// Out below, round all boxes on the right, in from above.
		x, above := d.width-float64(backs)*24, e.to.y-e.to.h/2-24
		fmt.Fprintf(&d.b, "M%.1f %.1fv20H%.1fV%.1fH%.1fV%.1f", e.from.x+24, e.from.y+edgeOf(e.from), x, above, e.to.x+24, e.to.y-edgeOf(e.to))
	default:
		at := [2]float64{e.from.x, e.from.y + e.from.h/2}
		fmt.Fprintf(&d.b, "M%.1f %.1f", at[0], at[1])
		for _, b := range append(append([]*node{}, e.bends...), e.to) {
			to := [2]float64{b.x, b.y - b.h/2}
			middle := (at[1] + to[1]) / 2
			fmt.Fprintf(&d.b, "C%.1f %.1f %.1f %.1f %.1f %.1f", at[0], middle, to[0], middle, to[0], to[1])
			at = to
		}
	}
	d.b.WriteString("\"/>\n")
}

// edgeOf is how far the outline of a box is from its middle, a little to the right
// of that.
func edgeOf(n *node) float64 {
	if n.state != nil && n.state.Type == statelang.Choice {
		return n.h / 2 * (1 - 24/(n.w/2))
	}
	return n.h / 2
}

// label writes what leads along an edge, near its beginning.
func (d *drawing) label(e *edge) {
	if e.label == "" {
		return
	}
	to := e.to
	if e.back {
		to = &node{x: d.width - e.from.x, y: e.from.y + e.from.h/2 + 40}
	}
	if len(e.bends) > 0 {
		to = e.bends[0]
	}
	text := short(e.label, 26)
	x := e.from.x + (to.x-e.from.x)*0.5
	y := (e.from.y+e.from.h/2)*0.5 + (to.y-to.h/2)*0.5
	w := float64(utf8.RuneCountInString(text))*5.9 + 6
	fmt.Fprintf(&d.b, `<g><title>%s</title><rect class="label" x="%.1f" y="%.1f" width="%.1f" height="15"/><text class="small" x="%.1f" y="%.1f">%s</text></g>`,
		html.EscapeString(e.label), x-w/2, y-9, w, x, y+2, html.EscapeString(text))
	d.b.WriteByte('\n')
}
