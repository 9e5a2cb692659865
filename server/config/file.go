package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileEntry is one scalar of the file with the path of keys that leads to it.
type fileEntry struct {
	key, value string
	line       int
}

// maxDepth bounds the nesting of a configuration file; ours has two levels,
// Seata's five.
const maxDepth = 16

// takeFile reads the YAML text of the file at path.
func (l *Loaded) takeFile(path string, content []byte, settings []Setting) error {
	entries, err := parseFile(content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	names := fileNames(settings)
	seen := make(map[string]int)
	var errs []error
	fail := func(e fileEntry, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %w", path, e.line, fmt.Errorf(format, args...)))
	}
	for _, e := range entries {
		target, ok := names[canonical(e.key)]
		if !ok {
			if near, ok := nearest(e.key, displayNames(names)); ok {
				fail(e, "there is no setting %q; did you mean %q?", e.key, near)
			} else {
				fail(e, "there is no setting %q; \"qiao server --print-config\" lists all", e.key)
			}
			continue
		}
		if line, twice := seen[target.setting]; twice {
			fail(e, "%s is set a second time; line %d sets it already", target.setting, line)
			continue
		}
		seen[target.setting] = e.line
		l.origin[target.setting] = path + ":" + strconv.Itoa(e.line)
		if err := target.value.Set(e.value); err != nil {
			fail(e, "%s: %w", e.key, err)
		}
	}
	return errors.Join(errs...)
}

func parseFile(content []byte) ([]fileEntry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one YAML document; one is read")
	}
	return flatten(nil, "", document.Content[0], 0)
}

// flatten appends the scalars under node, whose keys begin with prefix.
func flatten(entries []fileEntry, prefix string, node *yaml.Node, depth int) ([]fileEntry, error) {
	switch {
	case depth > maxDepth:
		return nil, fmt.Errorf("line %d: keys are nested more than %d deep", node.Line, maxDepth)
	case node.Kind == yaml.ScalarNode && prefix != "":
		if node.Tag == "!!null" {
			return entries, nil // "key:" without a value leaves the default
		}
		return append(entries, fileEntry{key: prefix, value: node.Value, line: node.Line}), nil
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return entries, nil
	case node.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("line %d: want \"key: value\", which lists, aliases and bare values are not", node.Line)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i].Value
		if prefix != "" {
			key = prefix + "." + key
		}
		var err error
		if entries, err = flatten(entries, key, node.Content[i+1], depth+1); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// fileTarget is what a name in the file means.
type fileTarget struct {
	name, setting string
	value         Value
}

// fileNames maps the canonical form of every name a file may use.
func fileNames(settings []Setting) map[string]fileTarget {
	names := make(map[string]fileTarget)
	for _, s := range settings {
		names[canonical(s.Key)] = fileTarget{name: s.Key, setting: s.Key, value: s.Value}
		for _, alias := range s.seata {
			value := alias.value
			if value == nil {
				value = s.Value
			}
			names[canonical(alias.name)] = fileTarget{name: alias.name, setting: s.Key, value: value}
		}
	}
	return names
}

func displayNames(names map[string]fileTarget) []string {
	var display []string
	for _, t := range names {
		display = append(display, t.name)
	}
	slices.Sort(display)
	return display
}

func envNames(settings []Setting) []string {
	names := []string{FileEnv}
	for _, s := range settings {
		names = append(names, s.Env())
	}
	return names
}

// canonical makes log.format, logFormat and log-format one name, and drops the
// root that Seata's application.yml puts before its keys.
func canonical(key string) string {
	key = strings.TrimPrefix(key, "seata.")
	return strings.ToLower(strings.NewReplacer(".", "", "-", "", "_", "").Replace(key))
}

// nearest is the candidate with the fewest edits from name, if that is few
// enough for a slip of the hand.
func nearest(name string, candidates []string) (string, bool) {
	name = canonical(name)
	best, bestEdits := "", max(2, len(name)/4)+1
	for _, c := range candidates {
		if n := edits(name, canonical(c)); n < bestEdits {
			best, bestEdits = c, n
		}
	}
	return best, best != ""
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// yamlScalar writes a value so that YAML reads the same text back.
func yamlScalar(v Value) string {
	if v.Type() == "string" {
		return strconv.Quote(v.String())
	}
	return v.String()
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
