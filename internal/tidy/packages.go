package tidy

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// setRooms notes the table.
func (t *tally) setRooms(rooms []Room) {
	t.rooms = make(map[string]Room, len(rooms))
	for _, room := range rooms {
		if _, twice := t.rooms[room.Path]; twice {
			t.add(room.Path, 0, "rooms", "the table has two rows for it")
		}
		t.rooms[room.Path] = room
	}
}

// mayImport lists what a room may import: the rooms above it, and theirs.
func (t *tally) mayImport(room Room) map[string]bool {
	allowed := map[string]bool{}
	var add func(names []string)
	add = func(names []string) {
		for _, name := range names {
			if !allowed[name] {
				allowed[name] = true
				add(t.rooms[name].Above)
			}
		}
	}
	add(room.Above)
	return allowed
}

func (t *tally) checkPackages() {
	for _, dir := range slices.Sorted(maps.Keys(t.packages)) {
		p := t.packages[dir]
		if !slices.ContainsFunc(p.files, func(f sourceFile) bool { return !f.test }) {
			continue
		}
		t.checkDoc(dir, p)
		room, ok := t.rooms[dir]
		if !ok {
			t.add(dir, 0, "rooms", "the package is not in the table: give it a row in internal/tidy/rooms.go")
			continue
		}
		allowed := t.mayImport(room)
		for _, file := range p.files {
			if file.test {
				continue
			}
			t.checkImports(file, allowed)
			if room.Pure {
				t.checkPurity(file)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.rooms)) {
		if t.packages[name] == nil {
			t.add(name, 0, "rooms", "the table has a row for it, the tree has no such package")
		}
	}
}

// checkDoc wants the form that tells a reader what belongs in the package.
func (t *tally) checkDoc(dir string, p *pkg) {
	for _, part := range []string{"Job:", "Owner:", "It must not know:"} {
		if !strings.Contains(p.doc, "\n"+part) {
			t.add(dir, 0, "doc", "the package comment has no line %q", part)
		}
	}
}

func (t *tally) checkImports(file sourceFile, allowed map[string]bool) {
	for _, spec := range file.ast.Imports {
		room, ours := strings.CutPrefix(importPath(spec), t.module+"/")
		if ours && !allowed[room] && !allowed["*"] {
			t.add(file.name, t.line(spec.Pos()), "imports", "%s may not import %s", path.Dir(file.name), room)
		}
	}
}

func importPath(spec *ast.ImportSpec) string {
	name, _ := strconv.Unquote(spec.Path.Value) // the parser accepted it
	return name
}
