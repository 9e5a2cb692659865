package tidy

import (
	"go/ast"
	"go/token"
	"slices"
)

// impureImports lists packages that bring what a pure room has not.
var impureImports = []string{
	"crypto/rand", "io/ioutil", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec",
	"os/signal", "runtime", "sync", "sync/atomic", "syscall", "testing/synctest",
}

// impureCalls lists functions, by package name, that read a clock, wait or print.
var impureCalls = map[string][]string{
	"time": {"Now", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Since", "Until"},
	"fmt":  {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

func (t *tally) checkPurity(file sourceFile) {
	for _, spec := range file.ast.Imports {
		if name := importPath(spec); slices.Contains(impureImports, name) {
			t.add(file.name, t.line(spec.Pos()), "purity", "a pure room may not import %s", name)
		}
	}
	impure := func(n ast.Node, what string) {
		t.add(file.name, t.line(n.Pos()), "purity", "a pure room has no %s", what)
	}
	ast.Inspect(file.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			impure(n, "goroutine")
		case *ast.ChanType:
			impure(n, "channel")
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && slices.Contains(impureCalls[pkg.Name], n.Sel.Name) {
				impure(n, pkg.Name+"."+n.Sel.Name)
			}
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				impure(n, "channel")
			}
		}
		return true
	})
}
