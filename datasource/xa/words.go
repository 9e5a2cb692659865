package xa

import (
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// firstWord is the first word of a text in upper case, after blanks and
// comments; "" where none is found.
func firstWord(query string) string {
	for {
		query = strings.TrimLeft(query, " \t\r\n\f\v(;")
		switch {
		case strings.HasPrefix(query, "/*"):
			_, rest, found := strings.Cut(query[2:], "*/")
			if !found {
				return ""
			}
			query = rest
		case strings.HasPrefix(query, "--"), strings.HasPrefix(query, "#"):
			_, query, _ = strings.Cut(query, "\n")
		default:
			end := 0
			for end < len(query) && isLetter(query[end]) {
				end++
			}
			return strings.ToUpper(query[:end])
		}
	}
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

var readVerbs = map[string]bool{"SELECT": true, "WITH": true, "TABLE": true, "VALUES": true,
	"SHOW": true, "EXPLAIN": true, "DESCRIBE": true, "DESC": true}

// reads tells a query that locks nothing, as far as its text tells. It runs in a
// read-only transaction, where the database refuses what writes all the same.
func reads(d schema.Dialect, query string) bool {
	if !readVerbs[firstWord(query)] {
		return false
	}
	if strings.Contains(strings.TrimRight(query, "; \t\r\n"), ";") { // it may be several statements
		verbs, err := sqlparse.Verbs(d, query)
		if err != nil || slices.ContainsFunc(verbs, func(verb string) bool { return !readVerbs[firstWord(verb)] }) {
			return false
		}
	}
	upper := strings.ToUpper(query)
	for _, word := range []string{"FOR", "LOCK", "INTO"} {
		for rest := upper; ; {
			i := strings.Index(rest, word)
			if i < 0 {
				break
			}
			before := i > 0 && (isLetter(rest[i-1]) || rest[i-1] >= '0' && rest[i-1] <= '9')
			rest = rest[i+len(word):]
			if !before && (rest == "" || !isLetter(rest[0])) {
				return false
			}
		}
	}
	return true
}

// endsTransaction tells whether a statement that begins with the words of verb ends
// the transaction that it runs in.
func endsTransaction(verb string) bool {
	words := strings.Fields(verb)
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "BEGIN", "START", "COMMIT", "END", "ABORT":
		return true
	case "PREPARE":
		return len(words) > 1 && words[1] == "TRANSACTION"
	case "ROLLBACK":
		return !slices.Contains(words[1:], "TO")
	}
	return false
}

// setsTransaction tells whether a text that has a statement with the word may change
// what the session's transactions are like.
func setsTransaction(word, query string) bool {
	upper := strings.ToUpper(query)
	return word == "SET" && (strings.Contains(upper, "TRANSACTION") || strings.Contains(upper, "AUTOCOMMIT"))
}
