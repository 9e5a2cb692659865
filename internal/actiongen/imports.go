package actiongen

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// own are the packages that the code itself may name.
var own = map[string]string{
	"context":      "context",
	"sql":          "database/sql",
	"time":         "time",
	"rm":           "github.com/qiao-tx/qiao/rm",
	"tcc":          "github.com/qiao-tx/qiao/rm/tcc",
	"fence":        "github.com/qiao-tx/qiao/rm/tcc/fence",
	"compensation": "github.com/qiao-tx/qiao/rm/compensation",
}

// use notes the packages that a type of the source names.
func (w *writer) use(typ string) {
	expr, err := parser.ParseExpr(strings.TrimPrefix(typ, "..."))
	if err != nil {
		return // the source did parse, so this is one of its types
	}
	ast.Inspect(expr, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok {
				w.used[pkg.Name] = true
			}
		}
		return true
	})
}

// writeImports writes the import of every package that is used: as the source
// imports it, or as the code itself needs it.
func (w *writer) writeImports(out *bytes.Buffer) {
	var std, others []string
	for _, name := range slices.Sorted(maps.Keys(w.used)) {
		target, spec := w.importOf(name)
		switch {
		case target == "" && own[name] == "":
			w.problems.add(w.at(w.file.Name), "a type is of package %s, which no import is called; import it by that name", name)
			continue
		case target == "":
			target = own[name]
		case own[name] != "" && target != own[name]:
			w.problems.add(w.at(spec), "the import %q is called %s here, as a package of the generated code is; give it another name", target, name)
			continue
		}
		line := strconv.Quote(target)
		if baseName(target) != name {
			line = name + " " + line
		}
		if strings.Contains(target, ".") {
			others = append(others, line)
		} else {
			std = append(std, line)
		}
	}
	byPath := func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, '"'):], b[strings.IndexByte(b, '"'):])
	}
	slices.SortStableFunc(std, byPath)
	slices.SortStableFunc(others, byPath)
	fmt.Fprintf(out, "import (\n\t%s\n\n\t%s\n)\n", strings.Join(std, "\n\t"), strings.Join(others, "\n\t"))
}

// importOf finds what the source calls name.
func (w *writer) importOf(name string) (target string, spec *ast.ImportSpec) {
	for _, spec := range w.file.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if called := baseName(target); spec.Name != nil && spec.Name.Name == name || spec.Name == nil && called == name {
			return target, spec
		}
	}
	return "", nil
}

// baseName guesses what a package is called: the last part of its path that is
// not a version.
func baseName(target string) string {
	base := path.Base(target)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(target))
	}
	return base
}
