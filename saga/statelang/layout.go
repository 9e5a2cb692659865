package statelang

import (
	"math"
	"strconv"
	"strings"
)

// fromLayout turns what Seata's designer before 2.0 saves, nodes and edges with
// their places on the screen, into the language proper
// (org.apache.seata.saga.statelang.parser.utils.DesignerJsonTransformer).
func (p *parser) fromLayout(root *node) *node {
	p.laidOut = true
	l := &layout{parser: p, boxes: map[string]*box{}, states: &node{path: "$.States", kind: object}}
	machine := &node{path: "$", kind: object}
	for _, n := range root.get("nodes").items {
		l.box(n, machine)
	}
	for _, e := range root.get("edges").items {
		l.edge(e, machine)
	}
	machine.set("States", l.states)
	return machine
}

type layout struct {
	*parser
	boxes  map[string]*box // by the node's id
	order  []*box
	states *node
}

// box is a node of the layout.
type box struct {
	*node
	stateType, stateID string
	state              *node // what it becomes; nil for a Start or Catch
}

func (n *node) set(key string, v *node) {
	for i, m := range n.members {
		if m.key == key {
			n.members[i].node = v
			return
		}
	}
	n.members = append(n.members, member{key, v})
}

func (n *node) text(key string) string {
	if v := n.get(key); v != nil {
		s, _ := v.value.(string)
		return s
	}
	return ""
}

func word(path, s string) *node { return &node{path: path, value: s} }

func (l *layout) box(n *node, machine *node) {
	b := &box{node: n, stateType: n.text("stateType"), stateID: n.text("stateId")}
	l.boxes[n.text("id")] = b
	l.order = append(l.order, b)
	props := n.get("stateProps")
	switch b.stateType {
	case "Start":
		if props != nil && props.get("StateMachine") != nil {
			machine.members = append(machine.members, props.get("StateMachine").members...)
		}
		return
	case "Catch":
		return
	}
	if l.states.get(b.stateID) != nil {
		l.fail(n, "a second node has the stateId %q; rename one", b.stateID)
		return
	}
	path := child("$.States", b.stateID)
	b.state = &node{path: path, kind: object}
	if label := n.text("label"); label != "" {
		b.state.set("Comment", word(path+".Comment", label))
	}
	if props != nil {
		for _, m := range props.members {
			b.state.set(m.key, m.node)
		}
	}
	stateType := b.stateType
	if stateType == "Compensation" {
		stateType = ServiceTask
	}
	b.state.set("Type", word(path+".Type", stateType))
	l.states.set(b.stateID, b.state)
}

func (l *layout) edge(e *node, machine *node) {
	from, to := l.boxes[e.text("source")], l.boxes[e.text("target")]
	if from == nil || to == nil {
		if e.text("source") != "" {
			l.fail(e, "the edge leads from or to no node")
		}
		return
	}
	target := word(e.path, to.stateID)
	switch {
	case from.stateType == "Start":
		machine.set("StartState", target)
	case from.stateType == "Catch":
		l.catch(e, from, target)
	case from.state == nil:
		l.fail(e, "an edge cannot leave a node of type %q", from.stateType)
	case from.stateType == Choice:
		l.choice(e, from, target)
	case to.stateType == "Compensation" && (from.stateType == ServiceTask || from.stateType == SubStateMachine):
		from.state.set("CompensateState", target)
	default:
		from.state.set("Next", target)
	}
}

func (l *layout) choice(e *node, from *box, target *node) {
	props := e.get("stateProps")
	if props == nil {
		return
	}
	if standard := props.get("Default"); standard != nil && standard.value == true {
		from.state.set("Default", target)
		return
	}
	arm := &node{path: e.path, kind: object}
	if x := props.get("Expression"); x != nil {
		arm.set("Expression", x)
	}
	arm.set("Next", target)
	appendTo(from.state, "Choices", arm)
}

// catch adds an error's way out to the task that the Catch node touches.
func (l *layout) catch(e *node, from *box, target *node) {
	for _, b := range l.order {
		if (b.stateType == ServiceTask || b.stateType == ScriptTask) && touch(from.node, b.node) && b.state != nil {
			arm := &node{path: e.path, kind: object}
			if props := e.get("stateProps"); props != nil && props.get("Exceptions") != nil {
				arm.set("Exceptions", props.get("Exceptions"))
				arm.set("Next", target)
				appendTo(b.state, "Catch", arm)
			}
			return
		}
	}
	l.fail(from.node, "the Catch node touches no task; move it onto the border of one")
}

func appendTo(n *node, key string, item *node) {
	list := n.get(key)
	if list == nil {
		list = &node{path: child(n.path, key), kind: array}
		n.set(key, list)
	}
	list.items = append(list.items, item)
}

func touch(a, b *node) bool {
	aw, ah := size(a)
	bw, bh := size(b)
	return math.Abs(coordinate(a, "x")-coordinate(b, "x")) < (aw+bw)/2 &&
		math.Abs(coordinate(a, "y")-coordinate(b, "y")) < (ah+bh)/2
}

func coordinate(n *node, key string) float64 {
	if v := n.get(key); v != nil {
		switch number := v.plain().(type) {
		case int64:
			return float64(number)
		case float64:
			return number
		}
	}
	return math.NaN()
}

func size(n *node) (w, h float64) {
	left, right, _ := strings.Cut(n.text("size"), "*")
	w, _ = strconv.ParseFloat(left, 64)
	h, _ = strconv.ParseFloat(right, 64)
	return w, h
}
