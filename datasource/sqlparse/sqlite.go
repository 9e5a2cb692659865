package sqlparse

import (
	"strconv"
	"strings"
)

// parseSQLite reads just enough of a statement to know its kind, its table and
// its clauses; SQLite itself judges the rest when the statement runs.
func parseSQLite(src *source, st *Statement) error {
	if !src.balanced() {
		return src.syntaxAt(len(src.sql), "a parenthesis does not close")
	}
	p := &sqliteParser{source: src, st: st}
	switch verb := strings.ToUpper(src.text(0)); verb {
	case "INSERT":
		st.Kind = Insert
		return p.insert()
	case "UPDATE":
		st.Kind = Update
		return p.update()
	case "DELETE":
		st.Kind = Delete
		return p.delete()
	case "SELECT", "VALUES", "WITH":
		return p.query()
	default:
		return p.other(verb)
	}
}

// balanced tells whether every parenthesis closes.
func (s *source) balanced() bool {
	last := len(s.tokens) - 1
	return s.tokens[last].depth == 0 && !s.punct(last, '(')
}

// sqliteParser walks over the tokens of one statement.
type sqliteParser struct {
	*source
	st *Statement
	at int
}

// accept steps over keywords if they come next.
func (p *sqliteParser) accept(keywords ...string) bool {
	if !p.word(p.at, keywords...) {
		return false
	}
	p.at += len(keywords)
	return true
}

func (p *sqliteParser) acceptPunct(c byte) bool {
	if !p.punct(p.at, c) {
		return false
	}
	p.at++
	return true
}

// unexpected is the ErrSyntax of the next token.
func (p *sqliteParser) unexpected(wanted string) error {
	if p.at >= len(p.tokens) {
		return p.syntaxAt(len(p.sql), wanted+" is missing")
	}
	return p.syntaxAt(p.tokens[p.at].start, wanted+" is missing before "+strconv.Quote(p.text(p.at)))
}

// identifier takes a name.
func (p *sqliteParser) identifier(what string) (string, error) {
	name, ok := p.name(p.at)
	if !ok {
		return "", p.unexpected(what)
	}
	p.at++
	return name, nil
}

// table takes [schema.]table [[AS] alias] [INDEXED BY index | NOT INDEXED].
func (p *sqliteParser) table() (err error) {
	if p.st.Table, err = p.identifier("a table"); err != nil {
		return err
	}
	if p.acceptPunct('.') {
		p.st.Schema = p.st.Table
		if p.st.Table, err = p.identifier("a table"); err != nil {
			return err
		}
	}
	if p.accept("AS") {
		if p.st.Alias, err = p.identifier("an alias"); err != nil {
			return err
		}
	} else if p.st.Kind == SelectForUpdate && p.bareAliasNext() {
		p.st.Alias, _ = p.name(p.at)
		p.at++
	}
	if p.accept("INDEXED", "BY") {
		_, err = p.identifier("an index")
		return err
	}
	p.accept("NOT", "INDEXED")
	return nil
}

// bareAliasNext tells an alias without AS from what may follow a table.
func (p *sqliteParser) bareAliasNext() bool {
	if p.at >= len(p.tokens) {
		return false
	}
	if _, ok := p.name(p.at); !ok {
		return false
	}
	if _, width := p.sectionAt(p.at); width > 0 {
		return false
	}
	for _, keyword := range []string{"INDEXED", "NOT", "JOIN", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL",
		"OUTER", "UNION", "EXCEPT", "INTERSECT"} {
		if p.word(p.at, keyword) {
			return false
		}
	}
	return true
}

func (p *sqliteParser) insert() error {
	p.at++
	if p.word(p.at, "OR") {
		return refuse("INSERT OR: rows may be replaced or skipped", remedyPlain)
	}
	if !p.accept("INTO") {
		return p.unexpected("INTO")
	}
	if err := p.table(); err != nil {
		return err
	}
	if p.punct(p.at, '(') {
		columns, err := p.columnList()
		if err != nil {
			return err
		}
		p.st.Columns = columns
	}
	switch {
	case p.accept("DEFAULT", "VALUES"):
		p.st.Columns, p.st.Rows = []string{}, [][]Value{{}}
	case p.accept("VALUES"):
		if err := p.values(); err != nil {
			return err
		}
	case p.word(p.at, "SELECT"), p.word(p.at, "WITH"):
		return refuse("INSERT … SELECT: the new rows are not known beforehand", remedyValues)
	default:
		return p.unexpected("VALUES")
	}
	switch {
	case p.at == len(p.tokens):
		return checkRows(p.st)
	case p.word(p.at, "ON"):
		return refuse("ON CONFLICT", remedyPlain)
	case p.word(p.at, "RETURNING"):
		return refuse("RETURNING", remedyReturning)
	default:
		return p.unexpected("the end of the statement")
	}
}

// columnList takes (a, b, …).
func (p *sqliteParser) columnList() ([]string, error) {
	var columns []string
	for p.at++; ; {
		column, err := p.identifier("a column")
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
		if p.acceptPunct(')') {
			return columns, nil
		}
		if !p.acceptPunct(',') {
			return nil, p.unexpected(`","`)
		}
	}
}

// values takes (…), (…) ….
func (p *sqliteParser) values() error {
	for {
		if !p.acceptPunct('(') {
			return p.unexpected(`"("`)
		}
		var row []Value
		for {
			from := p.at
			p.skip(1, ',')
			if p.at == from {
				return p.unexpected("a value")
			}
			row = append(row, p.value(span{from, p.at}))
			if !p.acceptPunct(',') {
				break
			}
		}
		p.at++ // the closing parenthesis, where skip stopped
		p.st.Rows = append(p.st.Rows, row)
		if !p.acceptPunct(',') {
			return nil
		}
	}
}

// skip steps to the next c at a depth, or to where that depth ends.
func (p *sqliteParser) skip(depth int, c byte) {
	for p.at < len(p.tokens) {
		t := p.tokens[p.at]
		if t.depth < depth || t.depth == depth && p.punct(p.at, c) {
			return
		}
		p.at++
	}
}

// value judges the tokens of one value.
func (p *sqliteParser) value(v span) Value {
	negative := v.to-v.from == 2 && p.punct(v.from, '-') && p.tokens[v.from+1].kind == tokenNumber
	if negative {
		v.from++
	}
	if v.to-v.from != 1 {
		return Value{Kind: ValueExpr}
	}
	t, text := p.tokens[v.from], p.text(v.from)
	switch t.kind {
	case tokenParam:
		return Value{Kind: ValueParam, Param: t.param}
	case tokenString:
		return Value{Kind: ValueLiteral, Literal: strings.ReplaceAll(text[1:len(text)-1], "''", "'")}
	case tokenNumber:
		return sqliteNumber(text, negative)
	case tokenWord:
		switch strings.ToUpper(text) {
		case "NULL":
			return Value{Kind: ValueNull}
		case "TRUE":
			return Value{Kind: ValueLiteral, Literal: int64(1)}
		case "FALSE":
			return Value{Kind: ValueLiteral, Literal: int64(0)}
		}
	case tokenQuoted, tokenPunct:
	}
	return Value{Kind: ValueExpr}
}

// sqliteNumber is an integer literal where it fits 64 bits, else a float, as in SQLite.
func sqliteNumber(text string, negative bool) Value {
	if negative {
		text = "-" + text
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Value{Kind: ValueLiteral, Literal: i}
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xX_") {
		return Value{Kind: ValueLiteral, Literal: f}
	}
	return Value{Kind: ValueExpr}
}

func (p *sqliteParser) update() error {
	p.at++
	if p.word(p.at, "OR") {
		return refuse("UPDATE OR: rows may be replaced or skipped", remedyPlainOr)
	}
	if err := p.table(); err != nil {
		return err
	}
	if !p.accept("SET") {
		return p.unexpected("SET")
	}
	found, head := p.sections(p.at)
	if err := p.assignments(head, p.assignment); err != nil {
		return err
	}
	return p.rows(found)
}

// assignments takes what an UPDATE sets, each by one, up to token head.
func (p *sqliteParser) assignments(head int, one func(head int) error) error {
	for i := p.at; i < head; i++ {
		if p.tokens[i].depth == 0 && p.word(i, "FROM") && !p.word(i-1, "DISTINCT") {
			return refuse("UPDATE … FROM", remedyOneTable) // "IS DISTINCT FROM" is an operator
		}
	}
	for p.at < head {
		if err := one(head); err != nil {
			return err
		}
		if p.at < head && !p.acceptPunct(',') {
			return p.unexpected(`","`)
		}
	}
	if len(p.st.Set) == 0 || p.punct(head-1, ',') {
		return p.unexpected("an assignment")
	}
	return nil
}

// assignment takes column = value, or (a, b) = value, before token head.
func (p *sqliteParser) assignment(head int) error {
	if p.punct(p.at, '(') {
		columns, err := p.columnList()
		if err != nil {
			return err
		}
		p.st.Set = append(p.st.Set, columns...)
	} else {
		column, err := p.identifier("a column")
		if err != nil {
			return err
		}
		p.st.Set = append(p.st.Set, column)
	}
	if !p.acceptPunct('=') {
		return p.unexpected(`"="`)
	}
	from := p.at
	for p.at < head && !(p.tokens[p.at].depth == 0 && p.punct(p.at, ',')) {
		p.at++
	}
	if p.at == from {
		return p.unexpected("a value")
	}
	return nil
}

func (p *sqliteParser) delete() error {
	p.at++
	if !p.accept("FROM") {
		return p.unexpected("FROM")
	}
	if err := p.table(); err != nil {
		return err
	}
	found, head := p.sections(p.at)
	if p.at != head {
		return p.unexpected("WHERE")
	}
	return p.rows(found)
}

// rows takes the clauses that choose rows.
func (p *sqliteParser) rows(found [sectionCount]span) error {
	if found[sectionReturning].from > 0 {
		return refuse("RETURNING", remedyReturning)
	}
	for _, which := range []section{sectionWhere, sectionOrder, sectionLimit} {
		if clause := found[which]; clause.from > 0 && clause.empty() {
			p.at = clause.from
			return p.unexpected("an expression")
		}
	}
	if err := p.repeatable(found[sectionWhere]); err != nil {
		return err
	}
	return p.source.rows(p.st, found)
}

// query takes SELECT, VALUES and WITH.
func (p *sqliteParser) query() error {
	p.st.Kind = Read
	found, _ := p.sections(0)
	locks := p.word(found[sectionLock].from, "FOR", "UPDATE")
	if p.word(0, "WITH") {
		for i := range p.tokens {
			if p.tokens[i].depth == 0 && p.writeVerb(i) {
				return refuse("a WITH clause on a statement that writes", remedyReadFirst)
			}
		}
		if locks {
			return refuse("a WITH clause", remedyReadFirst)
		}
		return nil
	}
	for i, t := range p.tokens {
		if t.depth > 0 && p.word(i, "FOR", "UPDATE") {
			return refuse("FOR UPDATE in a subquery", remedyOwnSelect)
		}
	}
	if !locks {
		return nil
	}
	return p.selectForUpdate(found)
}

// writeVerb tells whether a statement that writes begins at token i.
func (p *sqliteParser) writeVerb(i int) bool {
	return p.word(i, "INSERT", "INTO") || p.word(i, "INSERT", "OR") || p.word(i, "REPLACE", "INTO") ||
		p.word(i, "DELETE", "FROM") || p.word(i, "UPDATE") && !p.word(i-1, "FOR")
}

func (p *sqliteParser) selectForUpdate(found [sectionCount]span) error {
	p.st.Kind = SelectForUpdate
	from := -1
	for i, t := range p.tokens {
		if t.depth != 0 {
			continue
		}
		switch {
		case p.word(i, "UNION"), p.word(i, "EXCEPT"), p.word(i, "INTERSECT"):
			return refuse("FOR UPDATE in a UNION", "lock each table's rows with a SELECT of its own")
		case from < 0 && p.word(i, "FROM") && !p.word(i-1, "DISTINCT"):
			from = i
		}
	}
	lock := found[sectionLock]
	if rest := p.expr(span{lock.from + 2, lock.to}).SQL; rest != "" && !strings.EqualFold(rest, "NOWAIT") &&
		!strings.EqualFold(strings.Join(strings.Fields(rest), " "), "SKIP LOCKED") {
		p.at = lock.from + 2
		return p.unexpected("the end of the statement")
	}
	p.st.ForUpdateSuffix = p.expr(lock).SQL
	p.st.Rewritten = p.sql[:p.tokens[lock.from-1].end]
	if from < 0 {
		p.st.Kind = Read
		return nil
	}
	p.at = from + 1
	if p.at == lock.from {
		return p.unexpected("a table")
	}
	if p.punct(p.at, '(') {
		return refuse("a derived table", "name the table itself")
	}
	if err := p.table(); err != nil {
		return err
	}
	if _, width := p.sectionAt(p.at); width == 0 {
		return refuse(reasonJoin, remedyOneTable)
	}
	return p.lockedRows(found, from)
}

func (p *sqliteParser) lockedRows(found [sectionCount]span, from int) error {
	if err := p.rows(found); err != nil {
		return err
	}
	if found[sectionLimit].empty() {
		return nil
	}
	grouped := p.word(1, "DISTINCT") || !found[sectionGroup].empty()
	for i := 1; i < from; i++ {
		grouped = grouped || sqliteAggregates[strings.ToLower(p.text(i))] && p.punct(i+1, '(')
	}
	if grouped {
		return refuse(reasonGroups, remedyLockFirst)
	}
	return nil
}

// sqliteAggregates folds rows together.
var sqliteAggregates = map[string]bool{
	"avg": true, "count": true, "group_concat": true, "string_agg": true, "max": true, "min": true,
	"sum": true, "total": true, "json_group_array": true, "json_group_object": true,
}
