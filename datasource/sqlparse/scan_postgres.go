package sqlparse

import (
	"fmt"
	"strconv"
	"strings"
)

// nextPostgres is next for PostgreSQL, whose lexical rules share little with
// the others'. It takes the setting standard_conforming_strings to be on, as it
// is by default; datasource/at sees to that.
func (s *scanner) nextPostgres() error {
	start, c := s.at, s.sql[s.at]
	if skipped, err := s.postgresComment(); skipped || err != nil {
		return err
	}
	switch {
	case c == 0:
		return s.syntaxAt(start, "a NUL byte")
	case c == ' ' || c >= '\t' && c <= '\r':
		s.at++
	case c == '\'':
		return s.postgresString(start, false)
	case c == '"':
		return s.quoted(tokenQuoted, c)
	case c == '$':
		return s.dollar()
	case isDigit(c), c == '.' && s.numberFollowsDot():
		s.number()
	case isWordByte(c):
		return s.postgresWord()
	default:
		return s.punctuation(c)
	}
	return nil
}

// postgresComment skips a comment. A line ends with a carriage return too, and
// /* … */ may hold others.
func (s *scanner) postgresComment() (bool, error) {
	rest := s.sql[s.at:]
	if strings.HasPrefix(rest, "--") {
		end := strings.IndexAny(rest, "\r\n")
		if end < 0 {
			end = len(rest) - 1
		}
		s.at += end + 1
		return true, nil
	}
	if !strings.HasPrefix(rest, "/*") {
		return false, nil
	}
	depth := 0
	for i := 0; i+1 < len(rest); i++ {
		switch rest[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				s.at += i + 1
				return true, nil
			}
		}
	}
	return true, s.syntaxAt(s.at, "a comment does not end")
}

// postgresWord scans a keyword or an identifier, or the string that a one-letter
// prefix begins.
func (s *scanner) postgresWord() error {
	start := s.at
	for s.at < len(s.sql) && isWordByte(s.sql[s.at]) {
		s.at++
	}
	word := strings.ToUpper(s.sql[start:s.at])
	rest := s.sql[s.at:]
	switch {
	case word == "U" && (strings.HasPrefix(rest, `&'`) || strings.HasPrefix(rest, `&"`)):
		return refuse("a U& literal, whose escape character may be any", "write the letters themselves, or use E'…'")
	case strings.HasPrefix(rest, "'") && word == "E":
		return s.postgresString(start, true)
	case strings.HasPrefix(rest, "'") && (word == "B" || word == "X" || word == "N"):
		return s.postgresString(start, false)
	}
	s.add(tokenWord, start)
	return nil
}

// postgresString scans a string from its quote, which is at s.at; its token
// begins at start. A doubled quote stands for itself, and with escapes so does
// what follows a backslash.
func (s *scanner) postgresString(start int, escapes bool) error {
	for s.at++; s.at < len(s.sql); s.at++ {
		switch c := s.sql[s.at]; {
		case c == '\\' && escapes:
			s.at++
		case c != '\'':
		case s.at+1 < len(s.sql) && s.sql[s.at+1] == '\'':
			s.at++
		default:
			s.at++
			s.add(tokenString, start)
			return nil
		}
	}
	s.at = len(s.sql)
	return s.syntaxAt(start, "a quote does not end")
}

// dollar scans $1, or a string in dollar quotes.
func (s *scanner) dollar() error {
	start := s.at
	rest := s.sql[start+1:]
	width := 0
	for width < len(rest) && isWordByte(rest[width]) && rest[width] != '$' {
		width++
	}
	tag := rest[:width]
	if width > 0 && isDigit(tag[0]) {
		return s.numbered(tag)
	}
	if width == len(rest) || rest[width] != '$' {
		return s.syntaxAt(start, `"$" begins neither a placeholder nor a string`)
	}
	quote := "$" + tag + "$"
	end := strings.Index(s.sql[start+len(quote):], quote)
	if end < 0 {
		return s.syntaxAt(start, "a quote does not end")
	}
	s.at = start + end + 2*len(quote)
	s.add(tokenString, start)
	return nil
}

// numbered adds the placeholder with the given number.
func (s *scanner) numbered(digits string) error {
	start := s.at
	number, err := strconv.Atoi(digits)
	s.at += 1 + len(digits)
	switch {
	case err != nil || number < 1 || s.at < len(s.sql) && s.sql[s.at] == '$':
		return s.syntaxAt(start, "a placeholder's number is not one")
	case number > maxParams:
		return s.syntaxAt(start, fmt.Sprintf("more than %d placeholders", maxParams))
	}
	s.params = max(s.params, number)
	s.add(tokenParam, start)
	s.tokens[len(s.tokens)-1].param = number - 1
	return nil
}

// renumber gives the n-th different placeholder of a query made of clauses the
// number n: PostgreSQL wants to know the type of each up to the highest. It
// reports whether the placeholder is a new one.
func (s *source) renumber(param int) (n int, isNew bool) {
	if n, known := s.renumbered[param]; known {
		return n, false
	}
	if s.renumbered == nil {
		s.renumbered = map[int]int{}
	}
	n = len(s.renumbered) + 1
	s.renumbered[param] = n
	return n, true
}

// fold is what PostgreSQL makes of a name without quotes.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
