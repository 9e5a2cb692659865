package expression

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	end tokenKind = iota
	name
	number
	text
	sign
)

type token struct {
	kind   tokenKind
	text   string
	value  any // of a number or text
	offset int
	// line: a line break stands before it, which ends a statement of a script.
	line bool
}

func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// maxText bounds an expression or script.
const maxText = 64 << 10

type lexer struct {
	source string
	at     int
	groovy bool
}

func lex(source string, groovy bool) ([]token, error) {
	if len(source) > maxText {
		return nil, fmt.Errorf("%d bytes; an expression may have %d at most", len(source), maxText)
	}
	l := &lexer{source: source, groovy: groovy}
	var tokens []token
	for {
		line, err := l.space()
		if err != nil {
			return nil, err
		}
		if l.at == len(source) {
			return append(tokens, token{kind: end, offset: l.at, line: true}), nil
		}
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		t.line = line
		tokens = append(tokens, t)
	}
}

// space skips blanks and, in a script, comments. It tells whether a line ended.
func (l *lexer) space() (line bool, err error) {
	for l.at < len(l.source) {
		rest := l.source[l.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			line = line || rest[0] == '\n'
			l.at++
		case l.groovy && strings.HasPrefix(rest, "//"):
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				l.at += i
			} else {
				l.at = len(l.source)
			}
		case l.groovy && strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest, "*/")
			if i < 0 {
				return line, l.bad(l.at, "the comment is not closed")
			}
			l.at += i + 2
		default:
			return line, nil
		}
	}
	return line, nil
}

func (l *lexer) bad(at int, format string, args ...any) error {
	return fmt.Errorf("%q, character %d: %s", l.source, utf8.RuneCountInString(l.source[:at])+1, fmt.Sprintf(format, args...))
}

func (l *lexer) next() (token, error) {
	start := l.at
	r, width := utf8.DecodeRuneInString(l.source[start:])
	switch {
	case unicode.IsLetter(r) || r == '_':
		for start+width < len(l.source) {
			r, w := utf8.DecodeRuneInString(l.source[start+width:])
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '$' {
				break
			}
			width += w
		}
		l.at += width
		return token{kind: name, text: l.source[start:l.at], offset: start}, nil
	case unicode.IsDigit(r):
		return l.number()
	case r == '\'' || r == '"':
		return l.text(byte(r))
	}
	for _, s := range l.signs() {
		if strings.HasPrefix(l.source[start:], s) {
			l.at += len(s)
			return token{kind: sign, text: s, offset: start}, nil
		}
	}
	if strings.IndexByte("+-*/%^!<>()[]{}.,?:#@=;", l.source[start]) < 0 {
		return token{}, l.bad(start, "%q has no meaning here", string(r))
	}
	l.at++
	return token{kind: sign, text: l.source[start:l.at], offset: start}, nil
}

// signs are those of several characters, the longer first.
func (l *lexer) signs() []string {
	if l.groovy {
		return []string{"?.", "?:", "==", "!=", "<=", ">=", "&&", "||"}
	}
	return []string{".?[", ".![", ".^[", ".$[", "?.", "?:", "==", "!=", "<=", ">=", "&&", "||"}
}

// number reads 1, 1.5, 1e9, 0x1F and Java's suffixes.
func (l *lexer) number() (token, error) {
	start := l.at
	s := l.source
	digits := func() {
		for l.at < len(s) && s[l.at] >= '0' && s[l.at] <= '9' {
			l.at++
		}
	}
	t := token{kind: number, offset: start}
	if strings.HasPrefix(strings.ToLower(s[start:]), "0x") {
		l.at += 2
		for l.at < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[l.at]) >= 0 {
			l.at++
		}
	} else {
		digits()
		if l.at+1 < len(s) && s[l.at] == '.' && s[l.at+1] >= '0' && s[l.at+1] <= '9' {
			l.at++
			digits()
		}
		l.exponent(digits)
	}
	t.text = s[start:l.at]
	whole, err := strconv.ParseInt(t.text, 0, 64)
	if strings.Trim(t.text, "0123456789") == "" {
		whole, err = strconv.ParseInt(t.text, 10, 64)
	}
	if err == nil {
		t.value = whole
	} else if f, err := strconv.ParseFloat(t.text, 64); err == nil {
		t.value = f
	} else {
		return t, l.bad(start, "%q is no number", t.text)
	}
	return t, l.suffix(&t)
}

func (l *lexer) exponent(digits func()) {
	s, mark := l.source, l.at
	if l.at == len(s) || s[l.at]|0x20 != 'e' {
		return
	}
	l.at++
	if l.at < len(s) && (s[l.at] == '+' || s[l.at] == '-') {
		l.at++
	}
	before := l.at
	digits()
	if l.at == before {
		l.at = mark
	}
}

func (l *lexer) suffix(t *token) error {
	if l.at == len(l.source) {
		return nil
	}
	switch l.source[l.at] | 0x20 {
	case 'l':
		l.at++
	case 'f', 'd':
		l.at++
		if whole, ok := t.value.(int64); ok {
			t.value = float64(whole)
		}
	}
	if r, _ := utf8.DecodeRuneInString(l.source[l.at:]); unicode.IsLetter(r) {
		return l.bad(t.offset, "a number must not be followed by %q", string(r))
	}
	return nil
}

// text reads a string. In an expression a doubled quote stands for one, in a
// script a backslash escapes.
func (l *lexer) text(quote byte) (token, error) {
	start := l.at
	var b strings.Builder
	for l.at++; l.at < len(l.source); l.at++ {
		c := l.source[l.at]
		switch {
		case c == quote && !l.groovy && l.at+1 < len(l.source) && l.source[l.at+1] == quote:
			b.WriteByte(c)
			l.at++
		case c == quote:
			l.at++
			return token{kind: text, text: l.source[start:l.at], value: b.String(), offset: start}, nil
		case c == '\\' && l.groovy && l.at+1 < len(l.source):
			l.at++
			b.WriteByte(unescape(l.source[l.at]))
		case c == '$' && l.groovy && quote == '"':
			return token{}, l.bad(l.at, "a $ in a string is not supported; join strings with +")
		default:
			b.WriteByte(c)
		}
	}
	return token{}, l.bad(start, "the string is not closed")
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	}
	return c
}
