package file

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

// parseProperties reads a Java .properties file.
func parseProperties(text string) (map[string]string, error) {
	values := make(map[string]string)
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], " \t\f")
		first := i
		for continued(line) && i+1 < len(lines) {
			i++
			line = line[:len(line)-1] + strings.TrimLeft(lines[i], " \t\f")
		}
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		key, value, err := property(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", first+1, err)
		}
		values[key] = value
	}
	return values, nil
}

// continued tells whether a line ends in an odd number of backslashes. A comment
// does not go on.
func continued(line string) bool {
	if line == "" || line[0] == '#' || line[0] == '!' {
		return false
	}
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// property splits a line at its first =, : or blank.
func property(line string) (key, value string, err error) {
	end := 0
	for end < len(line) && strings.IndexByte("=: \t\f", line[end]) < 0 {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	if key, err = unescape(line[:end]); err == nil {
		value, err = unescape(strings.TrimRight(rest, " \t\f"))
	}
	return key, value, err
}

func unescape(text string) (string, error) {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			plain.WriteByte(text[i])
			continue
		}
		i++
		if text[i] != 'u' {
			plain.WriteByte(text[i]) // \t and its like are in no setting
			continue
		}
		if i+5 > len(text) {
			return "", errors.New(`after \u want four digits`)
		}
		n, err := strconv.ParseUint(text[i+1:i+5], 16, 16)
		if err != nil {
			return "", errors.New(`after \u want four digits`)
		}
		plain.WriteRune(rune(n))
		i += 4
	}
	return plain.String(), nil
}

// parseYAML reads a YAML file, which may hold several documents: of Spring Boot's
// profiles, the first one that sets a key wins.
func parseYAML(text string) (map[string]string, error) {
	values := make(map[string]string)
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		for _, root := range document.Content {
			if err := flatten(values, "", root, 0); err != nil {
				return nil, err
			}
		}
	}
}

// flatten adds the scalars below node. Lists and aliases are skipped: no setting
// that is looked for is one.
func flatten(values map[string]string, prefix string, node *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("line %d: keys are nested more than %d deep", node.Line, maxDepth)
	}
	if len(prefix) > maxKey {
		return fmt.Errorf("line %d: a key of %d bytes", node.Line, len(prefix))
	}
	if node.Kind == yaml.ScalarNode && node.Tag != "!!null" && values[prefix] == "" {
		values[prefix] = strings.TrimSpace(node.Value)
	}
	if node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i].Value
		if prefix != "" {
			key = prefix + "." + key
		}
		if err := flatten(values, key, node.Content[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
