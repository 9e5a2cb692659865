package statelang

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Parse reads a definition. A returned error is an *Error with every problem
// found, so that all can be mended at once.
func Parse(text []byte) (*Machine, error) {
	root, problem := read(text)
	if problem != nil {
		return nil, &Error{Problems: []Problem{*problem}}
	}
	p := &parser{text: text}
	if root.kind == object && root.get("nodes") != nil && root.get("edges") != nil {
		root = p.fromLayout(root)
	}
	m := p.machine(root)
	if !p.laidOut {
		m.places = map[string]location{}
		p.locate(root, m.places)
	}
	if len(p.problems) == 0 {
		p.check(m)
	}
	if len(p.problems) > 0 {
		return nil, &Error{Problems: p.problems}
	}
	m.Content, m.Warnings = string(text), p.warnings
	return m, nil
}

// parser collects problems; what cannot be read becomes a zero value.
type parser struct {
	text               []byte
	laidOut            bool // the nodes come from a layout and have no place in the text
	problems, warnings []Problem
}

// locate notes where each value stands.
func (p *parser) locate(n *node, places map[string]location) {
	line, column := place(p.text, n.offset)
	places[n.path] = location{line, column}
	for _, m := range n.members {
		p.locate(m.node, places)
	}
	for _, item := range n.items {
		p.locate(item, places)
	}
}

func (p *parser) note(list *[]Problem, path string, n *node, format string, args ...any) {
	problem := Problem{Path: path, Text: fmt.Sprintf(format, args...)}
	if n != nil && !p.laidOut {
		problem.Line, problem.Column = place(p.text, n.offset)
	}
	*list = append(*list, problem)
}

func (p *parser) fail(n *node, format string, args ...any) {
	p.note(&p.problems, n.path, n, format, args...)
}

func (p *parser) missing(parent *node, key, format string, args ...any) {
	p.note(&p.problems, child(parent.path, key), parent, format, args...)
}

func (p *parser) machine(root *node) *Machine {
	m := &Machine{States: map[string]*State{}}
	if root.kind != object {
		p.fail(root, "a state machine is a JSON object, {…}")
		return m
	}
	f := p.fields(root)
	m.Name, m.Comment = f.text("Name"), f.text("Comment")
	m.Version, m.StartState = f.text("Version"), f.text("StartState")
	m.RecoverStrategy = RecoverStrategy(f.oneOf("RecoverStrategy", string(Compensate), string(Forward)))
	m.Persist = f.flag("IsPersist") == nil || *f.flag("IsPersist")
	m.RetryUpdate, m.CompensateUpdate = f.flag("IsRetryPersistModeUpdate"), f.flag("IsCompensatePersistModeUpdate")
	states := f.object("States")
	f.done()
	if m.Name == "" {
		p.missing(root, "Name", "missing; the machine is started by its name")
	}
	if m.StartState == "" {
		p.missing(root, "StartState", "missing; it names the state to begin with")
	}
	if states == nil || len(states.members) == 0 {
		p.missing(root, "States", "missing; it holds the states by their names")
		return m
	}
	for _, s := range states.members {
		m.States[s.key] = p.state(s.key, s.node)
		m.Order = append(m.Order, s.key)
	}
	p.joinCompensations(m)
	return m
}

// joinCompensations marks both ends of each CompensateState and gives a
// SubStateMachine without one the implicit compensation.
func (p *parser) joinCompensations(m *Machine) {
	for _, name := range m.Order {
		s := m.States[name]
		if s.Type == SubStateMachine && s.CompensateState == "" {
			s.CompensateState = implicitCompensation + name
			undo := &State{Name: s.CompensateState, Type: CompensateSubMachine, Path: s.Path}
			undo.Persist = true
			m.States[undo.Name] = undo
		}
		if s.CompensateState == "" || !s.IsTask() {
			continue
		}
		s.ForUpdate = true
		if undo := m.States[s.CompensateState]; undo != nil && undo.IsTask() {
			undo.ForCompensation = true
		}
	}
}

var stateTypes = []string{ServiceTask, ScriptTask, SubStateMachine, CompensateSubMachine,
	CompensationTrigger, Choice, Succeed, Fail}

func (p *parser) state(name string, n *node) *State {
	s := &State{Name: name, Path: n.path}
	if n.kind != object {
		p.fail(n, "a state is a JSON object, {…}")
		return s
	}
	f := p.fields(n)
	defer f.done()
	s.Type = f.oneOf("Type", stateTypes...)
	if n.get("Type") == nil {
		p.missing(n, "Type", "missing; one of %s", strings.Join(stateTypes, ", "))
	}
	s.Comment, s.Next = f.text("Comment"), f.text("Next")
	f.ignore("Name", "style", "edge", "catch")
	if s.IsTask() {
		p.task(s, f)
	}
	switch s.Type {
	case ServiceTask:
		s.ServiceName, s.ServiceMethod, s.ServiceType = f.text("ServiceName"), f.text("ServiceMethod"), f.text("ServiceType")
		s.ParameterTypes = f.texts("ParameterTypes")
		s.Async = f.is("IsAsync")
	case ScriptTask:
		s.ScriptType, s.ScriptContent = f.text("ScriptType"), f.text("ScriptContent")
		if s.ScriptType == "" {
			s.ScriptType = "groovy"
		}
		s.Persist, s.ForUpdate, s.ForCompensation = false, false, false
	case SubStateMachine:
		s.StateMachineName = f.text("StateMachineName")
		if s.StateMachineName == "" {
			p.missing(n, "StateMachineName", "missing; it names the machine to run")
		}
	case CompensateSubMachine:
		s.ForCompensation = true
	case Choice:
		p.choice(s, f)
	case Fail:
		s.ErrorCode, s.Message = f.text("ErrorCode"), f.text("Message")
	}
	return s
}

func (p *parser) task(s *State, f *fields) {
	s.CompensateState = f.text("CompensateState")
	s.ForCompensation, s.ForUpdate = f.is("IsForCompensation"), f.is("IsForUpdate")
	s.Persist = f.flag("IsPersist") == nil || *f.flag("IsPersist")
	s.RetryUpdate, s.CompensateUpdate = f.flag("IsRetryPersistModeUpdate"), f.flag("IsCompensatePersistModeUpdate")
	if input := f.array("Input"); input != nil {
		s.Input = input.plain().([]any)
	}
	if output := f.object("Output"); output != nil {
		for _, m := range output.members {
			s.Output = append(s.Output, Assignment{Name: m.key, Value: m.plain()})
		}
	}
	if status := f.object("Status"); status != nil {
		for _, m := range status.members {
			text, _ := m.value.(string)
			if text != "SU" && text != "FA" && text != "UN" && text != "SK" {
				p.fail(m.node, "want SU (succeeded), FA (failed), UN (unknown) or SK (skipped)")
			}
			s.Status = append(s.Status, StatusRule{Expression: m.key, Status: text})
		}
	}
	if !s.Persist && (s.CompensateState != "" || s.ForUpdate) {
		p.note(&p.warnings, child(f.node.path, "IsPersist"), f.node.get("IsPersist"), "false, but the state changes data: a saga that was interrupted does not know of it, and will not undo it")
	}
	for _, r := range f.objects("Retry") {
		s.Retry = append(s.Retry, p.retry(r))
	}
	for _, c := range f.objects("Catch") {
		g := p.fields(c)
		s.Catch = append(s.Catch, Catch{Exceptions: g.texts("Exceptions"), Next: g.text("Next")})
		g.done()
		if c.get("Next") == nil {
			p.missing(c, "Next", "missing; it names the state that the error leads to")
		}
	}
	if l := f.object("Loop"); l != nil {
		s.Loop = p.loop(l)
	}
}

func (p *parser) retry(n *node) Retry {
	f := p.fields(n)
	defer f.done()
	r := Retry{Exceptions: f.texts("Exceptions"), IntervalSeconds: f.number("IntervalSeconds", 0),
		MaxAttempts: int(f.number("MaxAttempts", 0)), BackoffRate: f.number("BackoffRate", 0)}
	if n.get("MaxAttempts") == nil {
		p.missing(n, "MaxAttempts", "missing; it says how often the service is called again")
	}
	return r
}

func (p *parser) loop(n *node) *Loop {
	f := p.fields(n)
	defer f.done()
	l := &Loop{Parallel: 1, Collection: f.text("Collection"), ElementVariable: f.text("ElementVariableName"),
		ElementIndex: f.text("ElementIndexName"), CompletionCondition: f.text("CompletionCondition")}
	f.known["Parallel"] = true
	if v := n.get("Parallel"); v != nil { // Java reads any number or text, and takes 1 for what is neither
		if parallel, err := strconv.Atoi(fmt.Sprint(v.value)); err == nil && parallel > 0 {
			l.Parallel = parallel
		} else {
			p.fail(v, "want a whole number from 1")
		}
	}
	if l.Collection == "" {
		p.missing(n, "Collection", `missing; it names the list to loop over, as in "$.[items]"`)
	}
	for value, standard := range map[*string]string{
		&l.ElementVariable:     "loopElement",
		&l.ElementIndex:        "loopCounter",
		&l.CompletionCondition: "[nrOfInstances] == [nrOfCompletedInstances]",
	} {
		if *value == "" {
			*value = standard
		}
	}
	return l
}

func (p *parser) choice(s *State, f *fields) {
	s.Default = f.text("Default")
	for _, c := range f.objects("Choices") {
		g := p.fields(c)
		s.Choices = append(s.Choices, Branch{Expression: g.text("Expression"), Next: g.text("Next")})
		g.done()
		if c.get("Next") == nil {
			p.missing(c, "Next", "missing; it names the state to go to if Expression is true")
		}
	}
	if len(s.Choices) == 0 && s.Default == "" {
		p.missing(f.node, "Choices", "a Choice needs Choices or a Default")
	}
}

// fields reads an object's members and remembers which are known.
type fields struct {
	*parser
	node  *node
	known map[string]bool
}

func (p *parser) fields(n *node) *fields {
	return &fields{parser: p, node: n, known: map[string]bool{}}
}

func (f *fields) take(key string) *node {
	f.known[key] = true
	if n := f.node.get(key); n != nil && (n.kind != scalar || n.value != nil) {
		return n
	}
	return nil // absent or null
}

func (f *fields) ignore(keys ...string) {
	for _, key := range keys {
		f.known[key] = true
	}
}

func (f *fields) text(key string) string {
	n := f.take(key)
	if n == nil {
		return ""
	}
	if s, ok := n.value.(string); ok {
		return s
	}
	f.fail(n, "want a string")
	return ""
}

func (f *fields) oneOf(key string, allowed ...string) string {
	s := f.text(key)
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	if s != "" {
		f.fail(f.node.get(key), "%q; want one of %s", s, strings.Join(allowed, ", "))
	}
	return ""
}

func (f *fields) number(key string, otherwise float64) float64 {
	n := f.take(key)
	if n == nil {
		return otherwise
	}
	number, ok := n.value.(json.Number)
	v, err := number.Float64()
	if !ok || err != nil || v < 0 || v > 1e9 {
		f.fail(n, "want a number from 0 to 1e9")
		return otherwise
	}
	return v
}

func (f *fields) flag(key string) *bool {
	n := f.take(key)
	if n == nil {
		return nil
	}
	if b, ok := n.value.(bool); ok {
		return &b
	}
	f.fail(n, "want true or false")
	return nil
}

func (f *fields) is(key string) bool {
	b := f.flag(key)
	return b != nil && *b
}

func (f *fields) object(key string) *node { return f.of(key, object, "an object, {…}") }
func (f *fields) array(key string) *node  { return f.of(key, array, "a list, […]") }

func (f *fields) of(key string, k kind, want string) *node {
	n := f.take(key)
	if n != nil && n.kind != k {
		f.fail(n, "want %s", want)
		return nil
	}
	return n
}

func (f *fields) objects(key string) []*node {
	list := f.array(key)
	if list == nil {
		return nil
	}
	var good []*node
	for _, n := range list.items {
		if n.kind != object {
			f.fail(n, "want an object, {…}")
			continue
		}
		good = append(good, n)
	}
	return good
}

func (f *fields) texts(key string) []string {
	list := f.array(key)
	if list == nil {
		return nil
	}
	var all []string
	for _, n := range list.items {
		s, ok := n.value.(string)
		if !ok {
			f.fail(n, "want a string")
		}
		all = append(all, s)
	}
	return all
}

// done warns of keys that nothing reads. Published machines have some.
func (f *fields) done() {
	for _, m := range f.node.members {
		if f.known[m.key] {
			continue
		}
		hint := ""
		for key := range f.known {
			if strings.EqualFold(key, m.key) {
				hint = fmt.Sprintf("; did you mean %q?", key)
			}
		}
		f.note(&f.warnings, m.path, m.node, "nothing reads this key%s", hint)
	}
}
