package actiongen

import (
	"cmp"
	"errors"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"slices"
	"strings"
)

// source is a parsed file.
type source struct {
	name       string
	fset       *token.FileSet
	file       *ast.File
	problems   Problems
	interfaces []annotated
	// names are the actions' names, with where they were given.
	names map[string]token.Position
}

// annotated is an interface with actions.
type annotated struct {
	name    string
	methods map[string]*ast.Field
	actions []action
}

// action is one annotated method with those of its phase two.
type action struct {
	directive
	method, doc string
	params      []param
	// result is the type that a call with a compensation returns, if any.
	result string
	fenced bool
}

// param is one parameter of an action's methods, without ctx and tx.
type param struct{ name, typ string }

func (s *source) at(n ast.Node) token.Position { return s.fset.Position(n.Pos()) }

// parse reads the file and everything that is annotated in it. only, when not
// empty, names the one interface that is wanted.
func parse(name string, text []byte, only string) (*source, error) {
	s := &source{name: name, fset: token.NewFileSet(), names: make(map[string]token.Position)}
	var err error
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	var syntax scanner.ErrorList
	if errors.As(err, &syntax) {
		for _, e := range syntax {
			s.problems.add(e.Pos, "%s", e.Msg)
		}
		return nil, s.problems
	}
	if err != nil {
		return nil, err
	}
	for _, decl := range s.file.Decls {
		if types, ok := decl.(*ast.GenDecl); ok && types.Tok == token.TYPE {
			s.readTypes(types, only)
		}
	}
	s.findStray()
	if len(s.problems) == 0 && len(s.interfaces) == 0 {
		what := "no interface here has a method"
		if only != "" {
			what = "there is no interface " + only + " with a method"
		}
		s.problems.add(token.Position{Filename: name, Line: 1, Column: 1}, "%s that is annotated with //qiao:tcc or //qiao:compensation", what)
	}
	if len(s.problems) > 0 {
		slices.SortStableFunc(s.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, s.problems
	}
	return s, nil
}

func (s *source) readTypes(decl *ast.GenDecl, only string) {
	for _, spec := range decl.Specs {
		t := spec.(*ast.TypeSpec)
		i, ok := t.Type.(*ast.InterfaceType)
		if !ok || only != "" && t.Name.Name != only {
			continue
		}
		if found := s.readInterface(t, i); len(found.actions) > 0 {
			s.interfaces = append(s.interfaces, found)
		}
	}
}

func (s *source) readInterface(t *ast.TypeSpec, i *ast.InterfaceType) annotated {
	found := annotated{name: t.Name.Name, methods: make(map[string]*ast.Field)}
	for _, m := range i.Methods.List {
		if len(m.Names) == 1 {
			found.methods[m.Names[0].Name] = m
		}
	}
	for _, m := range i.Methods.List {
		d, ok := s.directiveOf(m)
		if !ok || len(m.Names) != 1 {
			continue
		}
		if t.TypeParams != nil {
			s.problems.add(s.at(m), "interface %s has type parameters: annotate one without", t.Name.Name)
			continue
		}
		a := s.readAction(found.methods, m, d)
		for _, other := range found.actions {
			if exported(other.method) == exported(a.method) {
				s.problems.add(s.at(m), "%s and %s differ only in the case of a letter; annotate one of them", other.method, a.method)
			}
		}
		found.actions = append(found.actions, a)
	}
	return found
}

// readAction checks an annotated method with those that it names.
func (s *source) readAction(methods map[string]*ast.Field, m *ast.Field, d directive) action {
	a := action{directive: d, method: m.Names[0].Name, doc: docOf(m)}
	first, ok := s.signatureOf(m)
	if !ok {
		return a
	}
	a.params, a.fenced, a.result = first.params, first.fenced, first.result
	if a.result != "" && d.kind == kindTCC {
		s.problems.add(s.at(m), "%s returns a %s: the try of a TCC action returns only error", a.method, a.result)
	}
	for _, phase := range d.phases() {
		other := methods[phase.method]
		if other == nil {
			s.problems.add(d.at, "%s=%s: the interface has no such method", phase.key, phase.method)
			continue
		}
		second, ok := s.signatureOf(other)
		switch {
		case !ok:
		case second.result != "":
			s.problems.add(s.at(other), "%s returns a %s: a method of phase two returns only error", phase.method, second.result)
		case second.fenced != first.fenced:
			s.problems.add(s.at(other), "%s and %s: both or neither take a tx *sql.Tx", phase.method, a.method)
		case !slices.EqualFunc(second.params, first.params, func(x, y param) bool { return x.typ == y.typ }):
			s.problems.add(s.at(other), "%s takes %s, and %s takes %s: they must take the same", phase.method, list(second.params), a.method, list(first.params))
		}
	}
	if before, taken := s.names[d.name]; taken {
		s.problems.add(d.at, "name=%s is taken by the action of line %d", d.name, before.Line)
	}
	s.names[d.name] = d.at
	return a
}

func list(params []param) string {
	types := make([]string, len(params))
	for i, p := range params {
		types[i] = p.typ
	}
	return "(" + strings.Join(types, ", ") + ")"
}

// docOf is the method's comment without annotations.
func docOf(m *ast.Field) string { return strings.TrimSpace(m.Doc.Text()) }

// findStray finds annotations that stand where nothing reads them.
func (s *source) findStray() {
	read := make(map[*ast.CommentGroup]bool)
	ast.Inspect(s.file, func(n ast.Node) bool {
		if i, ok := n.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				read[m.Doc] = len(m.Names) == 1
			}
		}
		return true
	})
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, directivePrefix) && !read[group] {
				s.problems.add(s.at(c), "this annotation is not at a method of an interface")
			}
		}
	}
}
