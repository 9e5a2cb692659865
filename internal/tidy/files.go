package tidy

import (
	"bytes"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A function or file over these lengths must say why: a comment
// "//tidy:long reason", for a function in its doc comment, for a file above
// the package clause. The limit is a question, not a law.
const (
	maxFunctionLines = 70
	maxFileLines     = 800
	longMarker       = "//tidy:long "
)

// emptyNames say nothing about what they hold.
var emptyNames = []string{"util", "utils", "common", "base", "impl", "helper", "helpers", "types", "misc"}

// machinePath finds paths below somebody's home. It is put together so that it
// does not find itself.
var machinePath = regexp.MustCompile(`(?:^|[^\w.])(/(?:` + strings.Join([]string{`root/`, `home/\w+/`, `Users/\w+/`}, "|") + `))`)

func (t *tally) checkText(name string, text []byte) {
	if bytes.IndexByte(text, 0) >= 0 {
		return // not a text
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		if found := machinePath.FindSubmatch(line); found != nil {
			t.add(name, i+1, "path", "%q exists on one machine only", found[1])
		}
	}
}

func (t *tally) checkName(name string) {
	stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".go"), "_test")
	for _, part := range append(strings.Split(path.Dir(name), "/"), stem) {
		if slices.Contains(emptyNames, part) {
			t.add(name, 0, "name", "%q says nothing about what it holds", part)
		}
	}
}

func (t *tally) checkFile(file sourceFile) {
	if ast.IsGenerated(file.ast) {
		return
	}
	lines := t.fset.File(file.ast.Pos()).LineCount()
	if lines > maxFileLines && !fileHasReason(file.ast) {
		t.add(file.name, 0, "long", "%d lines, over %d: divide it or say why in a %q comment above the package clause", lines, maxFileLines, longMarker+"reason")
	}
	for _, decl := range file.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			t.checkFunction(file, fn)
		}
	}
	ast.Inspect(file.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			t.checkFields(file, n)
		case *ast.SelectorExpr:
			t.checkSelector(file, n)
		}
		return true
	})
}

func (t *tally) checkFunction(file sourceFile, fn *ast.FuncDecl) {
	if fn.Name.Name == "init" && fn.Recv == nil {
		t.add(file.name, t.line(fn.Pos()), "init", "an import must not do anything: let the caller call")
	}
	lines := t.line(fn.End()) - t.line(fn.Pos()) + 1
	if lines > maxFunctionLines && !hasReason(fn.Doc) {
		t.add(file.name, t.line(fn.Pos()), "long", "%s has %d lines, over %d: divide it or say why in a %q comment", fn.Name.Name, lines, maxFunctionLines, longMarker+"reason")
	}
}

func (t *tally) checkFields(file sourceFile, s *ast.StructType) {
	for _, field := range s.Fields.List {
		if isSelector(field.Type, "context", "Context") && !file.test {
			t.add(file.name, t.line(field.Pos()), "context", "a context is an argument, never stored")
		}
	}
}

func (t *tally) checkSelector(file sourceFile, n *ast.SelectorExpr) {
	line := t.line(n.Pos())
	switch {
	case isSelector(n, "time", "Sleep") && !file.test && !strings.HasPrefix(file.name, "cmd/"):
		t.add(file.name, line, "sleep", "time.Sleep cannot be cancelled: wait on a timer and the context")
	case file.test && isSkip(n):
		t.add(file.name, line, "skip", "a test runs or fails; what a machine may lack is for internal/testenv to judge")
	}
}

func isSkip(n *ast.SelectorExpr) bool {
	return isSelector(n, "t", "Skip") || isSelector(n, "t", "Skipf") || isSelector(n, "t", "SkipNow")
}

func isSelector(n ast.Expr, pkg, name string) bool {
	s, ok := n.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func fileHasReason(file *ast.File) bool {
	for _, group := range file.Comments {
		if group.Pos() < file.Package && hasReason(group) {
			return true
		}
	}
	return false
}

func hasReason(group *ast.CommentGroup) bool {
	return group != nil && slices.ContainsFunc(group.List, func(c *ast.Comment) bool {
		return len(c.Text) > len(longMarker) && strings.HasPrefix(c.Text, longMarker)
	})
}
