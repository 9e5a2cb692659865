package sqlparse

import (
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// verbWords is how many words of a statement Verbs gives: "ROLLBACK WORK TO".
const verbWords = 3

// Verbs returns the first three words of each statement of a text, in upper case
// with blanks between them; a statement that does not begin with a word is
// left out. What follows the words is not looked at. The error is ErrSyntax
// when a quote or comment does not end, or ErrUnsupported for text of which it
// depends on the server whether it is executed.
func Verbs(d schema.Dialect, sql string) ([]string, error) {
	s := &scanner{source: source{dialect: d, sql: sql}}
	for s.at < len(sql) {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	var verbs, words []string
	end := func() {
		if len(words) > 0 {
			verbs = append(verbs, strings.Join(words, " "))
		}
		words = nil
	}
	begins := true // the statement has words only, so far
	for i, t := range s.tokens {
		switch {
		case t.kind == tokenPunct && s.punct(i, ';'):
			end()
			begins = true
		case t.kind != tokenWord:
			begins = false
		case begins && len(words) < verbWords:
			words = append(words, strings.ToUpper(s.text(i)))
		}
	}
	end()
	return verbs, nil
}
