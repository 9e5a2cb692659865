package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// lists are the mutants, a file for each room. An entry reads
//
//	= the mistake, in words
//	file server/txn/table.go
//	suite ./server/sim -run TestSeeds -seeds 50
//	 a line that stays
//	-a line that goes
//	+a line that comes
//
// and must fit at exactly one place of the file. Lines that start with # are
// remarks.
//
//go:embed list/*.txt
var lists embed.FS

// mutant is one mistake and the suite that must see it.
type mutant struct {
	name string
	// file is relative to the module's root, with slashes.
	file string
	// suite is a package and the arguments of its tests.
	suite    []string
	old, new string
}

// load reads all lists, in the order of their names.
func load() ([]mutant, error) {
	names, err := fs.Glob(lists, "list/*.txt")
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, name := range names {
		text, err := lists.ReadFile(name)
		if err != nil {
			return nil, err
		}
		some, err := parse(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// parse reads one list; name is for errors.
func parse(name, text string) ([]mutant, error) {
	var all []mutant
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if title, ok := strings.CutPrefix(line, "= "); ok {
			all = append(all, mutant{name: title})
			continue
		}
		if len(all) == 0 || !all[len(all)-1].take(line) {
			return nil, fmt.Errorf("%s:%d: %q is no part of a mutant: want =, file, suite, or a line of the change", name, number, line)
		}
	}
	for i := range all {
		if m := &all[i]; m.file == "" || len(m.suite) == 0 || m.old == m.new {
			return nil, fmt.Errorf("%s: mutant %q needs a file, a suite and a change", name, m.name)
		}
	}
	return all, nil
}

// take adds a line of the list to the mutant.
func (m *mutant) take(line string) bool {
	rest := line[1:] + "\n"
	switch {
	case strings.HasPrefix(line, "file "):
		m.file = strings.TrimPrefix(line, "file ")
	case strings.HasPrefix(line, "suite "):
		m.suite = strings.Fields(line)[1:]
	case line[0] == ' ':
		m.old += rest
		m.new += rest
	case line[0] == '-':
		m.old += rest
	case line[0] == '+':
		m.new += rest
	default:
		return false
	}
	return true
}

// source is the mutant's file with the mistake made.
func (m *mutant) source(root string) (string, error) {
	have, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return "", err
	}
	// Whole lines only: the text before a line ends with a newline.
	text := "\n" + string(have)
	if n := strings.Count(text, "\n"+m.old); n != 1 {
		return "", fmt.Errorf("mutant %q fits %s at %d places, want one: bring internal/mutants/list up to date", m.name, m.file, n)
	}
	return strings.Replace(text, "\n"+m.old, "\n"+m.new, 1)[1:], nil
}
