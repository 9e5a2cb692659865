package sqlparse

import "strings"

// parsePostgres reads just enough of a statement to know its kind, its table
// and where its result columns are; the server judges the rest when the
// statement runs. The rows that an INSERT, UPDATE or DELETE changed are told by
// the server itself, by RETURNING: nothing about them is guessed here.
func parsePostgres(src *source, st *Statement) error {
	if last := len(src.tokens) - 1; src.tokens[last].depth != 0 || src.punct(last, '(') || src.punct(last, '[') {
		return src.syntaxAt(len(src.sql), "a parenthesis does not close")
	}
	p := &postgresParser{&sqliteParser{source: src, st: st}}
	if src.punct(0, '(') {
		return p.query()
	}
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
	case "SELECT", "VALUES", "WITH", "TABLE":
		return p.query()
	default:
		return p.other(verb)
	}
}

// postgresParser shares the walk over tokens with SQLite's parser.
type postgresParser struct{ *sqliteParser }

// postgresSectionAt is sectionAt for PostgreSQL. Its clauses begin with
// reserved words, which can be names only behind AS or a dot.
func (s *source) postgresSectionAt(i int) (section, int) {
	if s.word(i-1, "AS") {
		return 0, 0
	}
	switch strings.ToUpper(s.text(i)) {
	case "WHERE":
		return sectionWhere, 1
	case "RETURNING":
		return sectionReturning, 1
	case "FOR":
		for _, lock := range [][]string{{"UPDATE"}, {"SHARE"}, {"NO", "KEY", "UPDATE"}, {"KEY", "SHARE"}} {
			if s.word(i+1, lock...) {
				return sectionLock, 1 + len(lock)
			}
		}
	case "INTO":
		return sectionInto, 1
	case "ORDER", "GROUP", "LIMIT", "OFFSET", "FETCH", "HAVING", "WINDOW", "UNION", "EXCEPT", "INTERSECT":
		return sectionOther, 1
	}
	return 0, 0
}

// table takes [ONLY] [schema.]table [*] [[AS] alias].
func (p *postgresParser) table() (err error) {
	if p.word(p.at, "ONLY") && !p.punct(p.at+1, '.') {
		p.at++ // tables with children are refused, so it says nothing
	}
	if p.st.Table, err = p.identifier("a table"); err != nil {
		return err
	}
	if p.acceptPunct('.') {
		p.st.Schema = p.st.Table
		if p.st.Table, err = p.identifier("a table"); err != nil {
			return err
		}
	}
	if p.punct(p.at, '.') {
		return refuse("a table named with its database", "name schema and table only")
	}
	p.acceptPunct('*')
	if p.accept("AS") {
		p.st.Alias, err = p.identifier("an alias")
		return err
	}
	if p.aliasNext() {
		p.st.Alias, _ = p.name(p.at)
		p.at++
	}
	return nil
}

// notAliases may follow a table, and are reserved or taken for keywords there.
var notAliases = map[string]bool{
	"SET": true, "FROM": true, "USING": true, "DEFAULT": true, "VALUES": true, "SELECT": true, "WITH": true,
	"OVERRIDING": true, "TABLE": true, "ON": true, "JOIN": true, "LEFT": true, "RIGHT": true, "FULL": true,
	"INNER": true, "CROSS": true, "NATURAL": true, "TABLESAMPLE": true, "FOR": true,
}

func (p *postgresParser) aliasNext() bool {
	if _, ok := p.name(p.at); !ok || p.st.Kind == Insert {
		return false // an INSERT's alias needs AS
	}
	_, width := p.sectionAt(p.at)
	return width == 0 && (p.tokens[p.at].kind == tokenQuoted || !notAliases[strings.ToUpper(p.text(p.at))])
}

func (p *postgresParser) insert() (err error) {
	p.at++
	if !p.accept("INTO") {
		return p.unexpected("INTO")
	}
	if err := p.table(); err != nil {
		return err
	}
	if p.punct(p.at, '(') && !p.word(p.at+1, "SELECT") && !p.word(p.at+1, "WITH") && !p.word(p.at+1, "VALUES") &&
		!p.word(p.at+1, "TABLE") && !p.punct(p.at+1, '(') {
		if p.st.Columns, err = p.targets(); err != nil {
			return err
		}
	}
	if p.at >= len(p.tokens) {
		return p.unexpected("VALUES")
	}
	if p.writesInside() {
		return refuse("a WITH clause that writes", remedyReadFirst)
	}
	found, _ := p.sections(p.at)
	for i := p.at; i < len(p.tokens); i++ {
		if p.tokens[i].depth == 0 && p.word(i, "ON", "CONFLICT") && !p.skips(i, found[sectionReturning]) {
			return refuse("ON CONFLICT DO UPDATE changes rows whose values are not known beforehand",
				"use ON CONFLICT DO NOTHING, or a SELECT … FOR UPDATE followed by INSERT or UPDATE")
		}
	}
	return p.returning(found[sectionReturning])
}

// skips tells that the ON CONFLICT at token i ends with DO NOTHING: the rows
// that are returned are then the inserted ones.
func (p *postgresParser) skips(i int, returning span) bool {
	end := len(p.tokens)
	if returning.from > 0 {
		end = returning.from - 1
	}
	return end-2 > i && p.word(end-2, "DO", "NOTHING") && p.tokens[end-1].depth == 0
}

// targets takes (a, b.field, c[1], …): the columns that are assigned.
func (p *postgresParser) targets() ([]string, error) {
	var columns []string
	depth := p.tokens[p.at].depth + 1
	for p.at++; ; {
		column, err := p.identifier("a column")
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
		p.skip(depth, ',')
		if p.acceptPunct(',') {
			continue
		}
		if p.acceptPunct(')') {
			return columns, nil
		}
		return nil, p.unexpected(`","`)
	}
}

func (p *postgresParser) update() error {
	p.at++
	if err := p.table(); err != nil {
		return err
	}
	if !p.accept("SET") {
		return p.unexpected("SET")
	}
	found, head := p.sections(p.at)
	if err := p.assignments(head, p.postgresAssignment); err != nil {
		return err
	}
	if err := p.where(found[sectionWhere]); err != nil {
		return err
	}
	p.st.Where = p.expr(found[sectionWhere])
	return p.returning(found[sectionReturning])
}

// postgresAssignment takes column = value, where the column may have subscripts
// or fields, or (a, b) = value, before token head.
func (p *postgresParser) postgresAssignment(head int) error {
	if p.punct(p.at, '(') {
		columns, err := p.targets()
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
		for p.at < head && !(p.tokens[p.at].depth == 0 && (p.punct(p.at, '=') || p.punct(p.at, ','))) {
			p.at++
		}
	}
	if p.at >= head || !p.acceptPunct('=') {
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

func (p *postgresParser) delete() error {
	p.at++
	if !p.accept("FROM") {
		return p.unexpected("FROM")
	}
	if err := p.table(); err != nil {
		return err
	}
	found, head := p.sections(p.at)
	if p.at != head && !p.word(p.at, "USING") {
		return p.unexpected("WHERE")
	}
	if err := p.where(found[sectionWhere]); err != nil {
		return err
	}
	return p.returning(found[sectionReturning])
}

// postgresVolatile are functions of a WHERE that mean something else when they
// run again, for the image.
var postgresVolatile = map[string]bool{
	"random": true, "clock_timestamp": true, "timeofday": true, "nextval": true, "setval": true,
	"gen_random_uuid": true, "uuid_generate_v4": true, "uuid_generate_v1": true,
}

// where refuses what cannot be asked twice.
func (p *postgresParser) where(where span) error {
	if where.from > 0 && where.empty() {
		p.at = where.from
		return p.unexpected("an expression")
	}
	if !where.empty() && p.word(where.from, "CURRENT", "OF") {
		return refuse("WHERE CURRENT OF a cursor", "name the row by its primary key")
	}
	if p.st.Kind != Update {
		return nil // its rows are returned, not asked for
	}
	for i := where.from; i < where.to; i++ {
		if name := strings.ToLower(p.text(i)); p.tokens[i].kind == tokenWord && postgresVolatile[name] && p.punct(i+1, '(') {
			return refuse("a WHERE with "+strings.ToUpper(name)+", which may mean other rows when it runs again", remedyArgument)
		}
	}
	return nil
}

// returning splits the statement at the end of its RETURNING clause, if it has
// one.
func (p *postgresParser) returning(found span) error {
	last := len(p.tokens) - 1
	text := p.sql[p.tokens[0].start:p.tokens[last].end]
	switch {
	case p.punct(last, '.'), p.word(last, "AS"), p.word(last, "FOR"): // RETURNING would be taken for a name
		p.at = len(p.tokens)
		return p.unexpected("a name")
	case found.from == 0:
		p.st.Head = text + " RETURNING "
		return nil
	case found.empty():
		p.at = found.from
		return p.unexpected("an expression")
	case found.to != len(p.tokens):
		p.at = found.to
		return p.unexpected("the end of the statement")
	}
	p.st.Head, p.st.Returns = text+", ", true
	return nil
}

// writesInside tells whether a statement that writes begins somewhere within
// parentheses, which only WITH allows.
func (p *postgresParser) writesInside() bool {
	for i, t := range p.tokens {
		if t.depth > 0 && p.postgresWriteVerb(i) {
			return true
		}
	}
	return false
}

func (p *postgresParser) postgresWriteVerb(i int) bool {
	return p.word(i, "INSERT", "INTO") || p.word(i, "MERGE", "INTO") || p.word(i, "DELETE", "FROM") ||
		p.word(i, "UPDATE") && !p.word(i-1, "FOR") && !p.word(i-1, "KEY") && !p.punct(i-1, '.')
}

// query takes SELECT, VALUES, TABLE and WITH.
func (p *postgresParser) query() error {
	p.st.Kind = Read
	found, _ := p.sections(0)
	lock := found[sectionLock]
	locks := p.word(lock.from, "FOR", "UPDATE") || p.word(lock.from, "FOR", "NO", "KEY", "UPDATE")
	if p.word(0, "WITH") {
		for i := range p.tokens {
			if p.postgresWriteVerb(i) {
				return refuse("a WITH clause on a statement that writes, or one that writes", remedyReadFirst)
			}
		}
	}
	for i, t := range p.tokens {
		if t.depth > 0 && (p.word(i, "FOR", "UPDATE") || p.word(i, "FOR", "NO", "KEY", "UPDATE")) {
			return refuse("FOR UPDATE in a subquery", remedyOwnSelect)
		}
		if t.depth == 0 && i != lock.from && lock.from > 0 && i > 0 {
			if which, width := p.sectionAt(i); width > 0 && which == sectionLock {
				return refuse("several locking clauses", "lock each table's rows with a SELECT of its own")
			}
		}
	}
	switch {
	case found[sectionInto].from > 0:
		return refuse(reasonInto+" creates a table", remedyInto)
	case !locks:
		return nil
	case !p.word(0, "SELECT"):
		return refuse("FOR UPDATE of a query that is no plain SELECT", remedySelect)
	}
	return p.selectForUpdate(found)
}

func (p *postgresParser) selectForUpdate(found [sectionCount]span) error {
	p.st.Kind = SelectForUpdate
	from := -1
	for i, t := range p.tokens {
		if t.depth == 0 && p.word(i, "FROM") && !p.word(i-1, "DISTINCT") && !p.word(i-1, "AS") && !p.punct(i-1, '.') {
			from = i
			break
		}
	}
	switch {
	case from < 0:
		p.st.Kind = Read // SELECT 1 FOR UPDATE locks nothing
		return nil
	case from == 1:
		return refuse("a SELECT … FOR UPDATE without columns", "select the primary key")
	}
	p.at = from + 1
	if p.punct(p.at, '(') || p.word(p.at, "LATERAL") {
		return refuse("a derived table", "name the table itself")
	}
	if err := p.table(); err != nil {
		return err
	}
	if _, width := p.sectionAt(p.at); width == 0 {
		return refuse(reasonJoin, remedyOneTable)
	}
	p.st.Head = p.sql[p.tokens[0].start:p.tokens[from-1].end] + ", "
	p.st.Tail = " " + p.sql[p.tokens[from].start:p.tokens[len(p.tokens)-1].end]
	p.st.Returns = true
	p.st.ForUpdateSuffix = p.expr(found[sectionLock]).SQL
	return nil
}
