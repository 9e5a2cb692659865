package sqlparse

import (
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// section is a clause of a statement that we look at.
type section uint8

const (
	sectionWhere section = iota
	sectionOrder
	sectionLimit
	sectionLock // FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
	sectionGroup
	sectionReturning
	sectionInto
	sectionOther // HAVING, WINDOW, and others that only end the clause before
	sectionCount
)

// span is a run of tokens [from, to); empty when the clause is absent.
type span struct{ from, to int }

func (p span) empty() bool { return p.from >= p.to }

// sections finds the clauses after token from, outside of any parentheses.
// Keyword tokens are left out, but for the locking clause, which is kept whole.
func (s *source) sections(from int) (found [sectionCount]span, head int) {
	head = len(s.tokens)
	current := sectionCount
	for i := from; i < len(s.tokens); i++ {
		which, width := s.sectionAt(i)
		if width == 0 {
			continue
		}
		if current == sectionCount {
			head = i
		} else {
			found[current].to = i
		}
		current = which
		found[which] = span{i + width, len(s.tokens)}
		if which == sectionLock {
			found[which].from = i
		}
		i += width - 1
	}
	return found, head
}

// sectionAt tells which clause begins at token i, and how many tokens its
// keywords take; 0 when none does.
func (s *source) sectionAt(i int) (section, int) {
	if i >= len(s.tokens) || s.tokens[i].kind != tokenWord || s.tokens[i].depth != 0 ||
		s.punct(i-1, '.') || s.word(i-1, "FOR") {
		return 0, 0 // a column may have a keyword's name; USE INDEX FOR ORDER BY is no clause
	}
	if s.dialect == schema.PostgreSQL {
		return s.postgresSectionAt(i)
	}
	switch strings.ToUpper(s.text(i)) {
	case "WHERE":
		return sectionWhere, 1
	case "ORDER":
		if s.word(i+1, "BY") {
			return sectionOrder, 2
		}
	case "GROUP":
		if s.word(i+1, "BY") {
			return sectionGroup, 2
		}
	case "LIMIT":
		return sectionLimit, 1
	case "FOR":
		if s.word(i+1, "UPDATE") || s.word(i+1, "SHARE") {
			return sectionLock, 2
		}
	case "LOCK":
		if s.word(i+1, "IN") {
			return sectionLock, 2
		}
	case "RETURNING":
		return sectionReturning, 1
	case "INTO":
		return sectionInto, 1
	case "HAVING", "PROCEDURE":
		return sectionOther, 1
	case "WINDOW":
		if s.word(i+2, "AS") {
			return sectionOther, 1
		}
	}
	return 0, 0
}

// expr is the text of a span, as written but for the numbers of placeholders.
func (s *source) expr(p span) Expr {
	if p.empty() {
		return Expr{}
	}
	var e Expr
	var b strings.Builder
	done := s.tokens[p.from].start
	for _, t := range s.tokens[p.from:p.to] {
		if t.kind != tokenParam {
			continue
		}
		b.WriteString(s.sql[done:t.start])
		done = t.end
		if s.dialect != schema.PostgreSQL {
			b.WriteByte('?')
			e.Params = append(e.Params, t.param)
			continue
		}
		n, isNew := s.renumber(t.param)
		b.WriteString("$" + strconv.Itoa(n))
		if isNew {
			e.Params = append(e.Params, t.param)
		}
	}
	b.WriteString(s.sql[done:s.tokens[p.to-1].end])
	e.SQL = b.String()
	return e
}

// orderColumns lists the columns of an ORDER BY clause, or nil when one of its
// terms is more than a column.
func (s *source) orderColumns(p span) []string {
	var columns []string
	for i := p.from; i < p.to; i++ {
		column, ok := s.name(i)
		for ok && s.punct(i+1, '.') && i+2 < p.to {
			i += 2
			column, ok = s.name(i)
		}
		if !ok {
			return nil
		}
		if i++; i < p.to && (s.word(i, "ASC") || s.word(i, "DESC")) {
			i++
		}
		if i < p.to && !s.punct(i, ',') {
			return nil
		}
		columns = append(columns, column)
	}
	return columns
}

// rows fills in the clauses that choose rows.
func (s *source) rows(st *Statement, found [sectionCount]span) error {
	st.Where = s.expr(found[sectionWhere])
	if found[sectionLimit].empty() {
		if st.Kind != SelectForUpdate { // its order may name columns of the select list
			st.OrderBy = s.expr(found[sectionOrder])
		}
		return nil
	}
	if found[sectionOrder].empty() {
		return refuse("LIMIT without ORDER BY: which rows it means is left to the database",
			"add ORDER BY with the primary key, or name the rows in WHERE")
	}
	st.OrderColumns = s.orderColumns(found[sectionOrder])
	if st.OrderColumns == nil {
		return refuse("LIMIT with an ORDER BY that is more than a list of columns",
			"order by columns, the primary key among them")
	}
	st.OrderBy = s.expr(found[sectionOrder])
	st.Limit = s.expr(found[sectionLimit])
	return nil
}
