package sqlparse

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// tokenKind is what a token is to us; punctuation is one byte a token.
type tokenKind uint8

const (
	tokenWord   tokenKind = iota + 1 // a keyword or a bare identifier
	tokenQuoted                      // a quoted identifier
	tokenString                      // a string literal
	tokenNumber
	tokenParam // a positional placeholder
	tokenPunct
)

// token is one token of the statement; comments and blanks are none.
type token struct {
	kind       tokenKind
	start, end int
	// depth counts the parentheses around the token. A parenthesis has the
	// depth of what is outside of it.
	depth int
	// param is the zero-based position of a placeholder's argument.
	param int
}

// source is a statement with its tokens.
type source struct {
	dialect schema.Dialect
	sql     string
	tokens  []token
	params  int
	// renumbered are the numbers that PostgreSQL's placeholders have in a query
	// made of the statement's clauses.
	renumbered map[int]int
}

// maxParams is the most placeholders a statement may have: MySQL's protocol
// counts them in 16 bits, SQLite stops at 32766.
const maxParams = 65535

// scanner cuts SQL into tokens.
type scanner struct {
	source
	at    int
	depth int
}

// scan cuts a statement into tokens, dropping the semicolons at its end.
func scan(d schema.Dialect, sql string) (*source, error) {
	s := &scanner{source: source{dialect: d, sql: sql}}
	for s.at < len(sql) {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	for n := len(s.tokens); n > 0 && s.punct(n-1, ';'); n-- {
		s.tokens = s.tokens[:n-1]
	}
	if len(s.tokens) == 0 {
		return nil, fmt.Errorf("%w: there is no statement in the text", ErrSyntax)
	}
	for i, t := range s.tokens {
		if t.kind == tokenPunct && s.punct(i, ';') {
			return nil, refuse("several statements in one text", "run them one by one")
		}
	}
	return &s.source, nil
}

func (s *scanner) next() error {
	if s.dialect == schema.PostgreSQL {
		return s.nextPostgres()
	}
	start, c := s.at, s.sql[s.at]
	if skipped, err := s.comment(); skipped || err != nil {
		return err
	}
	switch {
	case c == ' ' || c >= '\t' && c <= '\r':
		s.at++
	case c == '\'':
		return s.quoted(tokenString, c)
	case c == '"' && s.dialect == schema.MySQL:
		return s.quoted(tokenString, c)
	case c == '"', c == '`':
		return s.quoted(tokenQuoted, c)
	case c == '[' && s.dialect == schema.SQLite:
		return s.quoted(tokenQuoted, ']')
	case isDigit(c), c == '.' && s.numberFollowsDot():
		s.number()
	case s.dialect == schema.SQLite && (c == ':' || c == '@' || c == '$'):
		return refuse("a named placeholder", `use "?" or "?1"`)
	case isWordByte(c):
		for s.at < len(s.sql) && isWordByte(s.sql[s.at]) {
			s.at++
		}
		s.add(tokenWord, start)
	case c == '?':
		return s.placeholder()
	default:
		return s.punctuation(c)
	}
	return nil
}

func (s *scanner) add(kind tokenKind, start int) {
	s.tokens = append(s.tokens, token{kind: kind, start: start, end: s.at, depth: s.depth})
}

func (s *scanner) punctuation(c byte) error {
	start := s.at
	s.at++
	brackets := s.dialect == schema.PostgreSQL // around the elements of an array
	switch {
	case c == '(', c == '[' && brackets:
		s.add(tokenPunct, start)
		s.depth++
	case c == ')', c == ']' && brackets:
		if s.depth == 0 {
			return s.syntaxAt(start, "a parenthesis closes that never opened")
		}
		s.depth--
		s.add(tokenPunct, start)
	default:
		s.add(tokenPunct, start)
	}
	return nil
}

// comment skips a comment. Comments whose text a server executes are refused:
// whether it does depends on the server's kind and version.
func (s *scanner) comment() (bool, error) {
	rest := s.sql[s.at:]
	line := strings.HasPrefix(rest, "--")
	if s.dialect == schema.MySQL {
		// There "--" starts a comment only before a blank: "a--1" is arithmetic.
		line = line && (len(rest) == 2 || rest[2] <= ' ' || rest[2] == 0x7f) || rest[0] == '#'
	}
	if line {
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest) - 1
		}
		s.at += end + 1
		return true, nil
	}
	if !strings.HasPrefix(rest, "/*") {
		return false, nil
	}
	if s.dialect == schema.MySQL && isExecutableComment(rest[2:]) {
		return true, refuse("a comment that the server may execute (/*! … */)", "write its text without the comment")
	}
	end := strings.Index(rest[2:], "*/")
	if end < 0 {
		if s.dialect == schema.SQLite {
			s.at = len(s.sql) // SQLite takes the end of the text for the end of the comment
			return true, nil
		}
		return true, s.syntaxAt(s.at, "a comment does not end")
	}
	s.at += end + 4
	return true, nil
}

// isExecutableComment looks at the text after "/*".
func isExecutableComment(text string) bool {
	for _, mark := range []string{"!", "M!", "T!", "T!["} {
		if strings.HasPrefix(text, mark) {
			return true
		}
	}
	return false
}

// quoted scans a literal or an identifier up to its closing quote. A doubled
// quote stands for itself, and so does what follows a backslash in a MySQL string.
func (s *scanner) quoted(kind tokenKind, closing byte) error {
	start := s.at
	for s.at++; s.at < len(s.sql); s.at++ {
		switch c := s.sql[s.at]; {
		case c == '\\' && kind == tokenString && s.dialect == schema.MySQL:
			s.at++
		case c != closing:
		case closing != ']' && s.at+1 < len(s.sql) && s.sql[s.at+1] == closing:
			s.at++
		default:
			s.at++
			s.add(kind, start)
			return nil
		}
	}
	return s.syntaxAt(start, "a quote does not end")
}

// numberFollowsDot tells ".5" from the dot of a qualified name.
func (s *scanner) numberFollowsDot() bool {
	if s.at+1 >= len(s.sql) || !isDigit(s.sql[s.at+1]) {
		return false
	}
	n := len(s.tokens)
	afterName := n > 0 && s.tokens[n-1].end == s.at && s.tokens[n-1].kind <= tokenQuoted
	return !afterName
}

// number scans digits, a fraction, an exponent, and whatever letters follow
// (0x1f; and in MySQL a name may begin with a digit).
func (s *scanner) number() {
	start := s.at
	for ; s.at < len(s.sql); s.at++ {
		c := s.sql[s.at]
		previous := s.sql[s.at-min(1, s.at-start)]
		sign := (c == '+' || c == '-') && (previous == 'e' || previous == 'E') && !isHex(s.sql[start:s.at])
		if !isWordByte(c) && c != '.' && !sign {
			break
		}
	}
	s.add(tokenNumber, start)
}

func isHex(text string) bool { return len(text) > 1 && (text[1] == 'x' || text[1] == 'X') }

// placeholder scans "?", and in SQLite "?1". SQLite gives a bare "?" the number
// after the largest so far.
func (s *scanner) placeholder() error {
	start := s.at
	s.at++
	number := s.params + 1
	if s.dialect == schema.SQLite {
		for s.at < len(s.sql) && isDigit(s.sql[s.at]) {
			s.at++
		}
		if text := s.sql[start+1 : s.at]; text != "" {
			var err error
			if number, err = strconv.Atoi(text); err != nil || number < 1 {
				return s.syntaxAt(start, "a placeholder's number is out of range")
			}
		}
	}
	if number > maxParams {
		return s.syntaxAt(start, fmt.Sprintf("more than %d placeholders", maxParams))
	}
	s.params = max(s.params, number)
	s.add(tokenParam, start)
	s.tokens[len(s.tokens)-1].param = number - 1
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// syntaxAt is the ErrSyntax for a byte of the text.
func (s *source) syntaxAt(offset int, what string) error {
	before := s.sql[:offset]
	line := strings.Count(before, "\n") + 1
	column := offset - strings.LastIndexByte(before, '\n')
	return fmt.Errorf("%w: %s, line %d column %d", ErrSyntax, what, line, column)
}

// text is the text of a token.
func (s *source) text(i int) string { return s.sql[s.tokens[i].start:s.tokens[i].end] }

// punct tells whether token i is the punctuation c.
func (s *source) punct(i int, c byte) bool {
	return i >= 0 && i < len(s.tokens) && s.tokens[i].kind == tokenPunct && s.sql[s.tokens[i].start] == c
}

// word tells whether the tokens from i on are these keywords.
func (s *source) word(i int, keywords ...string) bool {
	if i < 0 || i+len(keywords) > len(s.tokens) {
		return false
	}
	for j, keyword := range keywords {
		if s.tokens[i+j].kind != tokenWord || !strings.EqualFold(s.text(i+j), keyword) {
			return false
		}
	}
	return true
}

// name is the identifier that token i holds, without its quotes.
func (s *source) name(i int) (string, bool) {
	if i >= len(s.tokens) {
		return "", false
	}
	text := s.text(i)
	switch s.tokens[i].kind {
	case tokenWord:
		if s.dialect == schema.PostgreSQL {
			text = fold(text)
		}
		return text, true
	case tokenQuoted:
		closing := text[len(text)-1:]
		inner := text[1 : len(text)-1]
		if closing == "]" {
			return inner, true
		}
		return strings.ReplaceAll(inner, closing+closing, closing), true
	case tokenString, tokenNumber, tokenParam, tokenPunct:
	}
	return "", false
}
