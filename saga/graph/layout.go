package graph

import (
	"slices"
	"sort"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// node is a box of the picture, or a bend of an edge that crosses layers.
type node struct {
	state *statelang.State // nil for the start's dot and for bends
	start bool
	layer int
	x, y  float64
	w, h  float64
}

// edge leads from one node to another, over bends.
type edge struct {
	from, to *node
	bends    []*node
	label    string
	kind     string // next, catch, undo
	back     bool
}

// layout is where everything goes.
type layout struct {
	nodes  []*node
	edges  []*edge
	layers [][]*node
	width  float64
	height float64
}

const (
	boxWidth, boxHeight = 196, 46
	gapX, gapY          = 56, 66
	margin              = 28
	bendWidth           = 14
)

// arrange lays a machine out: layers by the longest way from the start, the order in
// a layer by the neighbours' places, compensations beside what they undo.
func arrange(m *statelang.Machine) *layout {
	l := &layout{}
	byName := map[string]*node{}
	add := func(s *statelang.State) *node {
		n := &node{state: s, w: boxWidth, h: boxHeight}
		switch s.Type {
		case statelang.Succeed, statelang.Fail:
			n.w = 120
		case statelang.Choice:
			n.h = 58
		}
		byName[s.Name] = n
		l.nodes = append(l.nodes, n)
		return n
	}
	for _, name := range m.Order {
		add(m.States[name])
	}
	dot := &node{start: true, w: 18, h: 18}
	l.nodes = append(l.nodes, dot)
	l.edges = append(l.edges, &edge{from: dot, to: byName[m.StartState], kind: "next"})
	for _, name := range m.Order {
		l.connect(m.States[name], byName)
	}
	l.rank(dot)
	l.besideOwners()
	l.bend()
	l.order()
	l.place()
	return l
}

func (l *layout) connect(s *statelang.State, byName map[string]*node) {
	from := byName[s.Name]
	add := func(to, kind, label string) {
		if n := byName[to]; n != nil {
			l.edges = append(l.edges, &edge{from: from, to: n, kind: kind, label: label})
		}
	}
	for _, c := range s.Choices {
		add(c.Next, "next", c.Expression)
	}
	add(s.Default, "next", "otherwise")
	add(s.Next, "next", "")
	for _, c := range s.Catch {
		add(c.Next, "catch", exceptions(c.Exceptions))
	}
	if s.CompensateState != "" {
		add(s.CompensateState, "undo", "")
	}
}

// rank gives each node its layer. Edges that lead back to a node on the way are
// left out of the count.
func (l *layout) rank(dot *node) {
	out := map[*node][]*edge{}
	for _, e := range l.edges {
		if e.kind != "undo" {
			out[e.from] = append(out[e.from], e)
		}
	}
	onWay, done := map[*node]bool{}, map[*node]bool{}
	var sorted []*node
	var visit func(n *node)
	visit = func(n *node) {
		onWay[n] = true
		for _, e := range out[n] {
			if onWay[e.to] {
				e.back = true
			} else if !done[e.to] {
				visit(e.to)
			}
		}
		onWay[n], done[n] = false, true
		sorted = append(sorted, n)
	}
	visit(dot)
	for _, n := range l.nodes {
		if !done[n] {
			visit(n)
		}
	}
	slices.Reverse(sorted)
	for _, n := range sorted {
		for _, e := range out[n] {
			if !e.back {
				e.to.layer = max(e.to.layer, n.layer+1)
			}
		}
	}
}

// besideOwners puts a compensation into the layer of the state that it undoes.
func (l *layout) besideOwners() {
	for _, e := range l.edges {
		if e.kind == "undo" && e.to.layer == 0 {
			e.to.layer = e.from.layer
		}
	}
	last := 0
	for _, n := range l.nodes {
		last = max(last, n.layer)
	}
	l.layers = make([][]*node, last+1)
	for _, n := range l.nodes {
		l.layers[n.layer] = append(l.layers[n.layer], n)
	}
}

// bend gives each edge over several layers a node in every layer that it crosses.
func (l *layout) bend() {
	for _, e := range l.edges {
		if e.kind == "undo" || e.back {
			continue
		}
		for layer := e.from.layer + 1; layer < e.to.layer; layer++ {
			b := &node{layer: layer, w: bendWidth}
			l.layers[layer] = append(l.layers[layer], b)
			e.bends = append(e.bends, b)
		}
	}
}

// neighbours returns the nodes that each is joined with in another layer.
func (l *layout) neighbours() map[*node][]*node {
	all := map[*node][]*node{}
	join := func(a, b *node) {
		all[a] = append(all[a], b)
		all[b] = append(all[b], a)
	}
	for _, e := range l.edges {
		if e.back {
			continue
		}
		at := e.from
		for _, b := range e.bends {
			join(at, b)
			at = b
		}
		join(at, e.to)
	}
	return all
}

// order sorts each layer by the middle of the neighbours' places, down and up.
func (l *layout) order() {
	near := l.neighbours()
	l.spread()
	for round := range 8 {
		for i := range l.layers {
			if round%2 == 1 {
				i = len(l.layers) - 1 - i
			}
			middle := map[*node]float64{}
			for _, n := range l.layers[i] {
				middle[n] = average(n, near[n])
			}
			sort.SliceStable(l.layers[i], func(a, b int) bool { return middle[l.layers[i][a]] < middle[l.layers[i][b]] })
			l.spread()
		}
	}
}

func average(n *node, near []*node) float64 {
	if len(near) == 0 {
		return n.x
	}
	sum := 0.0
	for _, other := range near {
		sum += other.x
	}
	return sum / float64(len(near))
}

// spread places the nodes of each layer beside each other, around zero.
func (l *layout) spread() {
	for _, layer := range l.layers {
		total := -float64(gapX)
		for _, n := range layer {
			total += n.w + gapX
		}
		x := -total / 2
		for _, n := range layer {
			n.x = x + n.w/2
			x += n.w + gapX
		}
	}
}

// place moves the nodes towards their neighbours as far as their order allows, and
// then everything into the picture.
func (l *layout) place() {
	near := l.neighbours()
	for range 30 {
		for _, layer := range l.layers {
			for i, n := range layer {
				want := average(n, near[n])
				if i > 0 {
					want = max(want, layer[i-1].x+(layer[i-1].w+n.w)/2+gapX)
				}
				if i+1 < len(layer) {
					want = min(want, layer[i+1].x-(layer[i+1].w+n.w)/2-gapX)
				}
				n.x = want
			}
		}
	}
	y := float64(margin)
	left, right := 0.0, 0.0
	for _, layer := range l.layers {
		height := 0.0
		for _, n := range layer {
			height = max(height, n.h)
			left, right = min(left, n.x-n.w/2), max(right, n.x+n.w/2)
		}
		for _, n := range layer {
			n.y = y + height/2
		}
		y += height + gapY
	}
	for _, layer := range l.layers {
		for _, n := range layer {
			n.x += margin - left
		}
	}
	backs := 0
	for _, e := range l.edges {
		if e.back {
			backs++
		}
	}
	l.width, l.height = right-left+2*margin+float64(backs)*24, y-gapY+margin
}
