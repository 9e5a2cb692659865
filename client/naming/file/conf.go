package file

import (
	"fmt"
	"strings"
)

const (
	// maxDepth caps how deep blocks may be nested.
	maxDepth = 32
	// maxKey caps a dotted key, in bytes.
	maxKey = 1024
)

// confParser reads what Seata's .conf files use of the HOCON format: blocks,
// dotted and quoted keys, = and :, quoted and bare values, comments. Lists are
// skipped, as no setting of Seata's registries is one. What else HOCON has
// (include, +=, ${}) is refused or, within a value, left to whoever uses it.
type confParser struct {
	text   string
	at     int
	values map[string]string
}

func parseConf(text string) (map[string]string, error) {
	p := &confParser{text: text, values: make(map[string]string)}
	p.space()
	braced := p.take('{')
	if err := p.block("", 0, braced); err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, p.mistake("text after the last brace")
	}
	return p.values, nil
}

// block reads settings up to the closing brace, or to the end of the text.
func (p *confParser) block(prefix string, depth int, braced bool) error {
	if depth > maxDepth {
		return p.mistake("blocks are nested more than %d deep", maxDepth)
	}
	for {
		p.space()
		switch {
		case p.at == len(p.text) && braced:
			return p.mistake("a closing brace is missing")
		case p.at == len(p.text):
			return nil
		case braced && p.take('}'):
			return nil
		}
		if err := p.setting(prefix, depth); err != nil {
			return err
		}
	}
}

// setting reads one key with its value or block.
func (p *confParser) setting(prefix string, depth int) error {
	key, err := p.key()
	if err != nil {
		return err
	}
	if key == "" {
		return p.mistake("want a key")
	}
	if prefix != "" {
		key = prefix + "." + key
	}
	if len(key) > maxKey {
		return p.mistake("a key of %d bytes", len(key))
	}
	p.blank()
	assigned := p.take('=') || p.take(':')
	if p.space(); p.take('{') {
		return p.block(key, depth+1, true)
	}
	if !assigned {
		return p.mistake("after %q want =, : or {", key)
	}
	if p.take('[') {
		return p.list(1)
	}
	value, err := p.value()
	p.values[key] = value
	return err
}

// key reads a dotted key, parts of which may be quoted.
func (p *confParser) key() (string, error) {
	var key strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == '"':
			part, err := p.quoted()
			if err != nil {
				return "", err
			}
			key.WriteString(part)
			continue
		case strings.IndexByte(" \t\r\n=:{}[],#", c) >= 0 || p.comment():
			return key.String(), nil
		case strings.IndexByte("$+`^?!@*&\\", c) >= 0:
			return "", p.mistake("%q in a key", c)
		}
		key.WriteByte(c)
		p.at++
	}
	return key.String(), nil
}

// value reads quoted and bare text up to the end of the setting.
func (p *confParser) value() (string, error) {
	var value strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == '"':
			part, err := p.quoted()
			if err != nil {
				return "", err
			}
			value.WriteString(part)
			continue
		case strings.HasPrefix(p.text[p.at:], "${"):
			end := strings.IndexByte(p.text[p.at:], '}')
			if end < 0 {
				return "", p.mistake("${ without }")
			}
			value.WriteString(p.text[p.at : p.at+end+1])
			p.at += end + 1
			continue
		case strings.IndexByte("\r\n,}", c) >= 0 || p.comment():
			return strings.TrimSpace(value.String()), nil
		case c == '{' || c == '[':
			return "", p.mistake("%q in a value; put quotes around it", c)
		}
		value.WriteByte(c)
		p.at++
	}
	return strings.TrimSpace(value.String()), nil
}

// quoted reads "text" or """text""".
func (p *confParser) quoted() (string, error) {
	if strings.HasPrefix(p.text[p.at:], `"""`) {
		p.at += 3
		end := strings.Index(p.text[p.at:], `"""`)
		if end < 0 {
			return "", p.mistake(`""" without an end`)
		}
		part := p.text[p.at : p.at+end]
		p.at += end + 3
		return part, nil
	}
	var part strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case '"':
			p.at++
			return part.String(), nil
		case '\r', '\n':
			return "", p.mistake("a line ends within quotes")
		case '\\':
			p.at++
			if p.at == len(p.text) || strings.IndexByte(`"\/`, p.text[p.at]) < 0 {
				return "", p.mistake(`after \ want ", \ or /`)
			}
			part.WriteByte(p.text[p.at])
		default:
			part.WriteByte(c)
		}
	}
	return "", p.mistake("the closing quote is missing")
}

// list skips the rest of a list.
func (p *confParser) list(depth int) error {
	for depth > 0 {
		p.space()
		switch {
		case p.at == len(p.text):
			return p.mistake("a closing bracket is missing")
		case p.text[p.at] == '"':
			if _, err := p.quoted(); err != nil {
				return err
			}
			continue
		case p.text[p.at] == '[':
			depth++
		case p.text[p.at] == ']':
			depth--
		}
		p.at++
	}
	return nil
}

// space skips blanks, line ends, commas and comments.
func (p *confParser) space() {
	for p.at < len(p.text) {
		switch {
		case p.comment():
			for p.at < len(p.text) && p.text[p.at] != '\n' {
				p.at++
			}
		case strings.IndexByte(" \t\r\n,", p.text[p.at]) >= 0:
			p.at++
		default:
			return
		}
	}
}

// blank skips blanks within a line.
func (p *confParser) blank() {
	for p.at < len(p.text) && strings.IndexByte(" \t", p.text[p.at]) >= 0 {
		p.at++
	}
}

// comment tells whether a comment begins here.
func (p *confParser) comment() bool {
	return p.at < len(p.text) && (p.text[p.at] == '#' || strings.HasPrefix(p.text[p.at:], "//"))
}

func (p *confParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *confParser) mistake(format string, args ...any) error {
	line := 1 + strings.Count(p.text[:min(p.at, len(p.text))], "\n")
	return fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))
}
