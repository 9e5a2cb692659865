package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Finding is one breach of a rule.
type Finding struct {
	// File is the path in the tree; Line 0 stands for the file as a whole.
	File string
	Line int
	Rule string
	Text string
}

// String has the form of a compiler's message.
func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.File, f.Rule, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Text)
}

// Check reads the tree and returns every breach, in the order of the files.
// Module is the tree's module path. The error tells of files that cannot be
// read or parsed.
func Check(tree fs.FS, module string, rooms []Room) ([]Finding, error) {
	t := &tally{module: module, fset: token.NewFileSet(), packages: map[string]*pkg{}}
	t.setRooms(rooms)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped(name):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		return t.read(tree, name)
	})
	if err != nil {
		return nil, err
	}
	t.checkPackages()
	slices.SortFunc(t.findings, func(a, b Finding) int {
		return strings.Compare(fmt.Sprintf("%s:%06d:%s", a.File, a.Line, a.Rule), fmt.Sprintf("%s:%06d:%s", b.File, b.Line, b.Rule))
	})
	return t.findings, nil
}

// skipped tells which directories hold nothing of ours. Fixtures break the
// rules on purpose.
func skipped(dir string) bool {
	switch path.Base(dir) {
	case ".git", ".cache", "bin", "testdata", "node_modules":
		return true
	}
	return false
}

// pkg is what the rules about packages need.
type pkg struct {
	files []sourceFile
	doc   string
}

type sourceFile struct {
	name string
	ast  *ast.File
	test bool
}

// tally collects findings while the tree is read.
type tally struct {
	module   string
	rooms    map[string]Room
	fset     *token.FileSet
	packages map[string]*pkg
	findings []Finding
}

func (t *tally) add(file string, line int, rule, text string, args ...any) {
	t.findings = append(t.findings, Finding{file, line, rule, fmt.Sprintf(text, args...)})
}

func (t *tally) line(pos token.Pos) int { return t.fset.Position(pos).Line }

func (t *tally) read(tree fs.FS, name string) error {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	t.checkText(name, text)
	if path.Ext(name) != ".go" {
		return nil
	}
	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	source := sourceFile{name: name, ast: file, test: strings.HasSuffix(name, "_test.go")}
	dir := path.Dir(name)
	p := t.packages[dir]
	if p == nil {
		p = &pkg{}
		t.packages[dir] = p
	}
	p.files = append(p.files, source)
	if !source.test && file.Doc != nil {
		p.doc += file.Doc.Text()
	}
	t.checkName(name)
	t.checkFile(source)
	return nil
}
