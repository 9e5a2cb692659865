package xa

import "strings"

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

// reads tells a query that locks nothing, as far as its text tells. It runs in a
// read-only transaction, where the database refuses what writes all the same.
func reads(query string) bool {
	switch firstWord(query) {
	case "SELECT", "WITH", "TABLE", "VALUES", "SHOW", "EXPLAIN", "DESCRIBE", "DESC":
	default:
		return false
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
